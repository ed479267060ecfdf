"""Preparation in parallel: killed anywhere and begun again it writes the same bytes; headers alone, or decoded."""

import json
import os
import signal
import time

import numpy as np
import pytest
import soundfile

from carryover import files
from carryover.data import Limits, audio_check, examining, preparation
from local import table
from tests.unit import corpora

N = 400


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """400 rows over 20 clips, of which one is silent and one is no audio."""
    home = tmp_path_factory.mktemp("many")
    for i in range(20):
        corpora.clip(home / f"{i}.wav", 0.2 + 0.01 * i, seed=i)
    soundfile.write(home / "3.wav", np.zeros(4000), 16000)
    (home / "7.wav").write_text("words")
    rows = [
        (f"{i % 20}.wav", f"u{i:03d}", f"zin {i}", f"s{i % 20}", "test" if i % 20 == 1 else "train") for i in range(N)
    ]
    corpora.write(home / "manifest.tsv", ("path", "ID", "text", "speaker", "split"), *rows)
    return home


class Killed(Limits):
    """Kills its process when so many recordings have been looked at and `kept` are in the journal."""

    def __init__(self, after: int = 10**9, kept: int = 0, journal=None):
        self.after, self.kept, self.journal, self.looked = after, kept, journal, 0

    def inspect(self, utterance):
        self.looked += 1
        if self.looked > self.after:
            while self.journal.read_bytes().count(b"\n") <= self.kept:  # its first line names the settings
                time.sleep(0.001)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().inspect(utterance)

    def settings(self):
        return {"limits": "Killed"}


def run(folder, out, limits=None, **options):
    return preparation.prepare(table.utterances, folder, out, "nl", ("train", "test"), limits or Killed(), **options)


def content(out):
    return {path.name: path.read_bytes() for path in out.iterdir()}


def in_a_process(what) -> int:
    """The signal that ended `what` in a process of its own, 0 where it ended by itself."""
    pid = os.fork()
    if pid == 0:
        what()
        os._exit(0)
    return os.waitpid(pid, 0)[1] & 127


def test_killed_anywhere_it_goes_on_to_the_same_bytes(folder, tmp_path, capsys):
    run(folder, tmp_path / "whole")
    counts = json.loads((tmp_path / "whole" / ".done").read_text())["counts"]
    assert counts == {"train": N - 60, "test": 20, "rejected": 40}
    journal = tmp_path / "killed" / examining.JOURNAL
    for after, chunks in ((1, 0), (70, 1), (200, 4), (130, 6)):  # looked at; whole chunks of 64 in the journal then
        kill = Killed(after, 64 * chunks, journal)
        assert in_a_process(lambda kill=kill: run(folder, tmp_path / "killed", kill, workers=1)) == signal.SIGKILL
        with open(journal, "a") as file:
            file.write('["train", "u3')  # a line that the kill cut
    last = Killed()
    run(folder, tmp_path / "killed", last)
    assert content(tmp_path / "killed") == content(tmp_path / "whole")
    assert last.looked == N - 6 * 64 and "recordings were examined before a stop" in capsys.readouterr().out


def test_killed_at_each_file_it_writes(folder, tmp_path, monkeypatch):
    run(folder, tmp_path / "whole")
    take = files._take_place

    def killed_at(n):
        def place(*args):
            nonlocal n
            n -= 1
            if n < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            take(*args)

        return place

    for n in range(7):  # listed, rejected, remarks, counts, two lists, .done
        monkeypatch.setattr(files, "_take_place", killed_at(n))
        assert in_a_process(lambda: run(folder, tmp_path / "killed")) == signal.SIGKILL
    monkeypatch.setattr(files, "_take_place", take)
    last = Killed()
    run(folder, tmp_path / "killed", last)
    whole = {name for name in content(tmp_path / "killed") if ".partial" not in name}
    assert {name: content(tmp_path / "killed")[name] for name in whole} == content(tmp_path / "whole")
    assert last.looked == 0


def test_a_journal_of_other_settings_or_files_is_not_believed(folder, tmp_path):
    home = tmp_path / "own"
    home.mkdir()
    for n in range(3):
        corpora.clip(home / f"{n}.wav", seed=n)
    corpora.write(home / "train.tsv", ("path", "text"), *((f"{n}.wav", f"zin {n}") for n in range(3)))
    journal = tmp_path / "m" / examining.JOURNAL

    def looked(keep=b""):
        (tmp_path / "m" / ".done").unlink(missing_ok=True)
        journal.parent.mkdir(exist_ok=True)
        journal.write_bytes(keep)
        limits = Killed()
        preparation.prepare(table.utterances, home, tmp_path / "m", "nl", ["train"], limits, workers=1)
        return limits.looked

    about = json.dumps({"check_audio": "decoded", "limits": {"limits": "Killed"}}, sort_keys=True)
    limits, lines = Killed(), [about]
    for u in table.utterances(home, "nl", ["train"]):
        stat = os.stat(u.audio)
        found = [u.audio, str(stat.st_size), str(stat.st_mtime_ns)]
        lines.append(json.dumps([u.split, u.ID, found, list(limits.inspect(u)), None]))
    whole = "".join(line + "\n" for line in lines).encode()
    assert looked() == 3 and looked(whole) == 0 and looked(whole[:-20]) == 1
    assert looked(whole.replace(b"decoded", b"headers")) == 3 and looked(whole.replace(b'"train"', b"train")) == 3
    corpora.clip(home / "1.wav", 0.5, seed=9)
    assert looked(whole) == 1


def test_headers_alone_are_another_setting(folder, tmp_path):
    assert run(folder, tmp_path / "m", Limits()) == {"train": N - 60, "test": 20, "rejected": 40}
    assert run(folder, tmp_path / "m", Limits(), check_audio="headers")["rejected"] == 20  # silence is not heard
    with pytest.raises(ValueError, match="check_audio: 'header'; expected decoded or headers"):
        run(folder, tmp_path / "m", Limits(), check_audio="header")


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "mp3", "opus"])
def test_a_header_says_what_decoding_finds(ending, tmp_path):
    path = str(corpora.clip(tmp_path / f"a.{ending}", 1.0))
    decoded, header = audio_check.inspect(path), audio_check.header(path)
    assert header[:2] == decoded[:2] and header.sha256 != decoded.sha256
    assert audio_check.header(f"{path}#t=0.25,0.5").duration == 0.25
    before = header.sha256
    corpora.clip(path, 1.5)
    assert audio_check.header(path).sha256 != before


def test_what_a_header_tells_is_refused(tmp_path):
    path = corpora.clip(tmp_path / "a.wav", 1.0)
    data = path.read_bytes()
    for content_, said in (
        (data[:20000], "truncated: 9978 of 16000"), (data[:44], "empty|truncated"), (b"words", "cannot be read"),
        (b"", "0 bytes"), (b"PK\3\4x", "zip archive"),
    ):  # fmt: skip
        path.write_bytes(content_)
        with pytest.raises(ValueError, match=said):
            audio_check.header(str(path))
    with pytest.raises(ValueError, match="cannot be opened"):
        audio_check.header(str(tmp_path / "none.wav"))
    with pytest.raises(ValueError, match="ends behind"):
        audio_check.header(f"{corpora.clip(path, 1.0)}#t=0,2")


def test_an_error_stops_the_threads(folder, tmp_path):
    class Broken(Killed):
        def inspect(self, utterance):
            self.looked += 1
            raise MemoryError("no room")

    limits = Broken()
    with pytest.raises(MemoryError):
        run(folder, tmp_path / "m", limits, workers=1)
    assert limits.looked <= examining.AHEAD + 1
