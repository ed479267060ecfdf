"""Files that hold no recording that is read here, told by their first bytes: each with what to do."""

from pathlib import Path

CONVERT = "install ffmpeg, by which it is read, or convert it first (ffmpeg -i IN -ar 16000 -ac 1 OUT.wav)"

# (place, first bytes, what it is, what to do)
KINDS = (
    (4, b"ftyp", "is MPEG-4 (m4a, mp4, mov), which needs ffmpeg", CONVERT),
    (0, b"\x1aE\xdf\xa3", "is Matroska (webm, mkv), which needs ffmpeg", CONVERT),
    (0, b"\x30\x26\xb2\x75", "is Windows Media (wma, asf), which needs ffmpeg", CONVERT),
    (0, b"#!AMR", "is AMR, which needs ffmpeg", CONVERT),
    (0, b"\x00\x05\x16\x07", "is macOS's companion of another file, no recording", "delete it"),
    (0, b"version https://git-lfs", "is a Git LFS pointer, no recording", "git lfs pull"),
    (0, b"PK\x03\x04", "is a zip archive", "extract it first"),
    (0, b"\x1f\x8b", "is a gzip archive", "extract it first"),
    (0, b"%PDF", "is a PDF, no recording", "download the recording again"),
    (0, b"{", "is JSON or another text, no recording", "download the recording again"),
    (0, b"<", "is a web page or XML, no recording", "download the recording again"),
)
TEXTS = (
    ".txt .csv .tsv .json .jsonl .md .xml .yaml .yml .log .textgrid .eaf .lab .trn .stm .srt .vtt .html .pdf .png "
    ".jpg .jpeg .py .sh .ini .db .ds_store"
).split()  # of files that stand beside recordings


def beside(path: Path) -> bool:
    """Whether a file's name says that it is no recording: a list, a text, a picture."""
    return (path.suffix or path.name).lower() in TEXTS


def said(path: Path, data: bytes) -> str | None:
    """What a file is that libsndfile cannot read, or None for what is not known."""
    if not data:
        return "audio is empty: the file has 0 bytes; download or export it again"
    if path.suffix.lower() in (".raw", ".pcm"):
        return "audio has no header: raw samples do not say their rate; convert it first, e.g. with SoX"
    for place, first, what, advice in KINDS:
        if data[place:].startswith(first) or (first == b"<" and data.lstrip()[:1] == b"<"):
            return f"audio {what}: {advice}"
    rest = data.lstrip(b"\0")
    if len(rest) < len(data) and (rest.startswith(b"ID3") or len(rest) > 1 and rest[0] == 255 and rest[1] >= 224):
        zeros = len(data) - len(rest)
        return (
            f"audio begins with {zeros} bytes of zeros before an mp3: cut them off (tail -c +{zeros + 1} IN > OUT.mp3)"
        )
    return None
