"""How attention is computed: as transformers chooses for a model, or as the key `attention` says."""

from transformers import PreTrainedConfig
from transformers.utils import is_flash_attn_2_available

FLASH = "flash_attention_2"


def choose(config: PreTrainedConfig, attention: str | None, kind: type) -> None:
    """Write it into the config of a model that is to be made; None leaves it to transformers.

    Parameters
    ----------
    config : PreTrainedConfig
    attention : str or None
        "eager", "sdpa" (torch's, which takes FlashAttention's kernels by itself where they fit) or "flash_attention_2".
    kind : type
        The model's class.

    Raises
    ------
    ValueError
        For an attention that the model does not have, and for FlashAttention where it is not installed.
    """
    if attention is None:
        return
    has = {"sdpa": kind._supports_sdpa, FLASH: kind._supports_flash_attn}  # private, but the only place that says it
    if not has.get(attention, True):
        others = " or ".join(["eager", *(name for name, there in has.items() if there)])
        raise ValueError(f"attention: {attention}, which {kind.__name__} does not have; give {others}, or null")
    if attention == FLASH and not is_flash_attn_2_available():
        raise ValueError(
            f"attention: {FLASH} needs a CUDA device and the package flash-attn (pip install flash-attn "
            "--no-build-isolation), and they are not both here; give sdpa, or null for transformers' choice"
        )
    config._attn_implementation = attention
