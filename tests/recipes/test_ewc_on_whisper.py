"""EWC on the Whisper recipe: its likelihood, its samples, and a run; the penalty belongs to no recipe."""

import pytest
import torch

from carryover.models import whisper

from .helpers import Stage, batches, events, make_brain, train


def test_log_likelihood_is_the_sum_of_the_loss_over_the_tokens(whisper_run):
    brain, _, manifests = make_brain(whisper_run, splits=("train",))
    brain.modules.eval()
    [batch] = batches(brain, manifests / "train.csv", 28)
    with torch.no_grad():
        log_p, tokens = brain.log_likelihood(batch, "gold", torch.Generator())
        nll = brain.compute_objectives(brain.compute_forward(batch, Stage.VALID), batch, Stage.VALID)["nll"]
        alone = [
            brain.log_likelihood(b, "gold", torch.Generator())[0] for b in batches(brain, manifests / "train.csv", 1)
        ]
    assert int(tokens.sum()) == brain.units(batch)
    assert -log_p.sum().item() == pytest.approx(nll.item() * brain.units(batch), rel=1e-5)
    torch.testing.assert_close(log_p, torch.cat(alone), rtol=1e-4, atol=1e-4)


def test_a_sample_is_a_draw_token_by_token(whisper_run):
    """The same draws as without a cache, each from the whole prefix; then the end, at the latest at the limit."""
    brain, hparams, manifests = make_brain(whisper_run, splits=("train",))
    brain.modules.eval()
    model, tokenizer = brain.modules.whisper, hparams["tokenizer"]
    prompt = tokenizer.prompt("nl")
    for seed, batch in enumerate(batches(brain, manifests / "train.csv", 1)[:5]):
        with torch.no_grad():
            states = model.model.encoder(brain.features(batch, Stage.TEST)[0]).last_hidden_state
            found = whisper.sample(model, states, prompt, tokenizer.eot, 12, torch.Generator().manual_seed(seed))
            generator, ids = torch.Generator().manual_seed(seed), list(prompt)
            while len(ids) < len(prompt) + 11 and ids[-1] != tokenizer.eot:
                hidden = model.model.decoder(input_ids=torch.tensor([ids]), encoder_hidden_states=states)
                probs = model.proj_out(hidden.last_hidden_state[:, -1]).softmax(dim=-1)
                ids.append(torch.multinomial(probs, 1, generator=generator).item())
        assert found == (ids if ids[-1] == tokenizer.eot else [*ids, tokenizer.eot])
        assert len(found) <= len(prompt) + 12


def test_sampled_labels_are_of_one_clip(whisper_run):
    brain, _, manifests = make_brain(whisper_run, splits=("train",))
    brain.modules.eval()
    one, two = (batches(brain, manifests / "train.csv", n)[0] for n in (1, 2))
    log_p, tokens = brain.log_likelihood(one, "sampled", torch.Generator().manual_seed(1))
    assert log_p.shape == tokens.shape == (1,) and log_p.requires_grad and log_p < 0
    with pytest.raises(ValueError, match="one clip at a time"):
        brain.log_likelihood(two, "sampled", torch.Generator())


def test_a_run_with_ewc_logs_its_penalty_and_leaves_the_new_head_free(whisper_run, two_languages, tmp_path):
    overrides = whisper_run | {
        "data_folder": str(two_languages / "de"), "language": "de", "old_language": "nl",
        "old_data_folder": str(two_languages / "nl"), "output_root": str(tmp_path),
        "output_folder": str(tmp_path / "run"),
    }  # fmt: skip
    done = train(overrides, "hparams/ewc_on_whisper.yaml")
    assert done.returncode == 0, done.stderr[-3000:]
    log = events(tmp_path / "run")
    [fisher] = [e for e in log if e["event"] == "fisher"]
    assert fisher["samples"] == 28 and fisher["mean"] > 0
    from safetensors.torch import load_file

    assert not [name for name in load_file(fisher["file"]) if name.startswith("ctc.")]
    assert [e for e in log if e["event"] == "train"][-1]["ewc"] > 0
    assert {e["language"] for e in log if e["event"] == "valid"} == {"de", "nl"}
