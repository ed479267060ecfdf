"""Broken recordings and lists, each refused by its own reason, or kept and said; kept + rejected = listed."""

import csv
import os
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from carryover.commands import transcription
from carryover.data import audio, manifest
from carryover.data.audio_check import inspect
from carryover.data.limits import Limits
from carryover.data.preparation import prepare
from local.table import utterances

RATE = 16_000
TONE = 0.3 * np.sin(2 * np.pi * 220 * np.arange(RATE) / RATE)  # one second


def samples(name, data=TONE, rate=RATE, **how):
    return lambda folder: soundfile.write(folder / name, data, rate, **how)


def raw(name, data):
    return lambda folder: (folder / name).write_bytes(data)


def changed(value, name="a.wav"):
    data = TONE.copy()
    data[8000] = value
    return samples(name, data, subtype="FLOAT")


def of_wav(name, change, form="WAV", **how):
    """A whole file's bytes, changed."""

    def write(folder):
        soundfile.write(folder / "whole", np.tile(TONE, 1 if form == "WAV" else 6), RATE, format=form, **how)
        data = (folder / "whole").read_bytes()
        (folder / "whole").unlink()
        (folder / name).write_bytes(change(data))

    return write


def header(size):
    return lambda data: data[: data.index(b"data") + 4] + size + data[data.index(b"data") + 8 :]


def rate(hz):
    return lambda data: data[:24] + hz.to_bytes(4, "little") + (2 * hz).to_bytes(4, "little") + data[32:]


def half(data):
    return data[: len(data) // 2]


REFUSED = {
    "one NaN": (changed(np.nan), "a.wav", r"not a number \(NaN\): 1 of 16000, first at 0.50 s"),
    "infinite": (changed(np.inf), "a.wav", "infinite samples: 1 of 16000, first at 0.50 s"),
    "minus infinite": (changed(-np.inf), "a.wav", "infinite samples"),
    "all NaN": (samples("a.wav", np.nan * TONE, subtype="DOUBLE"), "a.wav", "NaN.: 16000 of 16000, first at 0.00 s"),
    "silence": (samples("a.wav", 0 * TONE), "a.wav", "audio is silent: its 16000 samples"),
    "constant": (samples("a.flac", 0 * TONE + 0.4), "a.flac", "audio is silent: its"),
    "dither": (samples("a.wav", np.sign(TONE) * 2**-15.5), "a.wav", "audio is silent: its"),
    "opposite": (samples("a.wav", np.stack([TONE, -TONE], 1)), "a.wav", "silent once mixed .* 2 channels cancel"),
    "no sample": (samples("a.wav", TONE[:0]), "a.wav", r"audio is empty \(0 samples\)$"),
    "no byte": (raw("a.wav", b""), "a.wav", "audio is empty: the file has 0 bytes"),
    "size never written": (of_wav("a.wav", header(bytes(4))), "a.wav", "0 samples.*header was never finished"),
    "5 ms": (samples("a.wav", TONE[:80]), "a.wav", "audio is too short: 0.0050 s"),
    "cut wav": (of_wav("a.wav", half), "a.wav", "truncated: 79.. of 16000 samples"),
    "cut 24 bit": (of_wav("a.wav", half, subtype="PCM_24"), "a.wav", "truncated: 79.. of 16000"),
    "cut flac": (of_wav("a.flac", half, "FLAC"), "a.flac", "audio (is truncated|cannot be read)"),
    "cut mp3": (of_wav("a.mp3", half, "MP3"), "a.mp3", "truncated: .* of 96000"),
    "cut ogg": (of_wav("a.ogg", half, "OGG", subtype="VORBIS"), "a.ogg", "truncated: its last page is cut"),
    "cut opus": (of_wav("a.opus", lambda d: d[: d.rindex(b"OggS")], "OGG", subtype="OPUS"), "a.opus", "no last page"),
    "rate 1 Hz": (of_wav("a.wav", rate(1)), "a.wav", "impossible sampling rate: 1 Hz"),
    "rate 2 GHz": (of_wav("a.wav", rate(2_000_000_000)), "a.wav", "impossible sampling rate|cannot be read"),
    "html": (raw("a.wav", b"<!DOCTYPE html>404 Not Found"), "a.wav", "audio is a web page"),
    "json": (raw("a.wav", b'{"error": "not found"}'), "a.wav", "audio is JSON"),
    "text": (raw("a.wav", b"Dear sir, this is no audio."), "a.wav", "audio cannot be read: Format not recognised"),
    "lfs": (raw("a.wav", b"version https://git-lfs.github.com/spec/v1\n"), "a.wav", "Git LFS pointer.*git lfs pull"),
    "apple double": (raw("._a.wav", b"\0\5\x16\7\0\2\0\0" + bytes(99)), "._a.wav", "macOS's companion"),
    "zip": (raw("a.wav", b"PK\3\4" + bytes(99)), "a.wav", "zip archive: extract"),
    "gzip": (raw("a.wav", b"\x1f\x8b" + bytes(99)), "a.wav", "gzip archive: extract"),
    "m4a": (raw("a.m4a", b"\0\0\0\x20ftypM4A " + bytes(99)), "a.m4a", "MPEG-4 .*ffmpeg"),
    "webm": (raw("a.webm", b"\x1aE\xdf\xa3" + bytes(99)), "a.webm", "Matroska .*ffmpeg"),
    "wma": (raw("a.wma", b"\x30\x26\xb2\x75" + bytes(99)), "a.wma", "Windows Media"),
    "amr": (raw("a.amr", b"#!AMR\n" + bytes(99)), "a.amr", "AMR"),
    "raw": (raw("a.raw", TONE.astype("<i2").tobytes()[:999] + b"x"), "a.raw", "no header: raw samples"),
    "zeros before mp3": (of_wav("a.mp3", lambda data: bytes(600) + data, "MP3"), "a.mp3", "600 bytes of zeros before"),
    "folder": (lambda folder: (folder / "a.wav").mkdir(), "a.wav", "cannot be opened: a folder"),
    "dead link": (lambda folder: (folder / "a.wav").symlink_to("b.wav"), "a.wav", r"not there \(b.wav\)"),
    "pipe": (lambda folder: os.mkfifo(folder / "a.wav"), "a.wav", "a pipe or device"),
    "gone": (lambda folder: None, "a.wav", "cannot be opened: No such file"),
}
SAID = {
    "clipped": (samples("a.wav", np.clip(9 * TONE, -1, 1)), r"audio is clipped: \d\d.\d % of its samples"),
    "beyond full scale": (samples("a.wav", 9 * TONE, subtype="FLOAT"), "beyond full scale: highest sample 2.7"),
    "quiet": (samples("a.wav", 1e-3 * TONE, subtype="FLOAT"), "hardly to be heard"),
    "offset": (samples("a.wav", TONE + 0.4), "has an offset: its mean is 0.40"),
    "4 kHz": (samples("a.wav", TONE, 4000), "low sampling rate: 4000 Hz"),
}
READ = ("a.aiff", "a.au", "a.w64", "a.caf", "a.wav", "a.flac", "a.mp3", "a.ogg")


def resampled(hz):
    return 0.3 * np.sin(2 * np.pi * 220 * np.arange(hz) / hz)


def with_list(data):
    """A chunk of ffmpeg's before the samples."""
    chunk = b"LIST" + (26).to_bytes(4, "little") + b"INFOISFT" + (14).to_bytes(4, "little") + b"Lavf59.27.100\0"
    return data[: data.index(b"data")] + chunk + data[data.index(b"data") :]


def plain(data):
    return data


GOOD = {  # forms that people have, and what is in them
    "RF64": (samples("a.wav", format="RF64"), "a.wav"),
    "wavex": (samples("a.wav", format="WAVEX", subtype="PCM_16"), "a.wav"),
    "24 bit": (samples("a.wav", subtype="PCM_24"), "a.wav"),
    "float64": (samples("a.wav", subtype="DOUBLE"), "a.wav"),
    "flac of 24 bit": (samples("a.flac", subtype="PCM_24"), "a.flac"),
    "mu-law of 8 kHz": (samples("a.wav", resampled(8000), 8000, subtype="ULAW"), "a.wav"),
    "22 050 Hz": (samples("a.wav", resampled(22050), 22050), "a.wav"),
    "192 kHz": (samples("a.wav", resampled(192_000), 192_000), "a.wav"),
    "two channels": (samples("a.wav", np.stack([TONE, TONE], 1)), "a.wav"),
    "left channel only": (samples("a.wav", np.stack([TONE, 0 * TONE], 1)), "a.wav"),
    "one of 8 channels": (samples("a.wav", np.stack([TONE] + 7 * [0 * TONE], 1)), "a.wav"),
    "mp3 named wav": (of_wav("a.wav", plain, "MP3"), "a.wav"),
    "wav named mp3": (of_wav("a.mp3", plain), "a.mp3"),
    "ID3 before mp3": (of_wav("a.mp3", lambda data: b"ID3\3\0\0\0\0\x10\0" + bytes(2048) + data, "MP3"), "a.mp3"),
    "opus in ogg": (of_wav("a.ogg", plain, "OGG", subtype="OPUS"), "a.ogg"),
    "size never known": (of_wav("a.wav", header(b"\xff\xff\xff\xff")), "a.wav"),
    "LIST before data": (of_wav("a.wav", with_list), "a.wav"),
    ".WAV": (of_wav("A.WAV", plain), "A.WAV"),
    "blanks and letters": (of_wav("a b é 語.wav", plain), "a b é 語.wav"),
    "link": (lambda folder: (of_wav("b.wav", plain)(folder), (folder / "a.wav").symlink_to("b.wav")), "a.wav"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_recording_is_refused_by_its_reason(tmp_path, case):
    write, name, reason = REFUSED[case]
    write(tmp_path)
    with pytest.raises(ValueError, match=reason):
        inspect(str(tmp_path / name))


@pytest.mark.parametrize("case", SAID)
def test_recording_is_kept_and_said(tmp_path, case):
    write, remark = SAID[case]
    write(tmp_path)
    assert re.search(remark, inspect(str(tmp_path / "a.wav")).remark)


@pytest.mark.parametrize("name", READ)
def test_good_recordings_have_no_remark(tmp_path, name):
    samples(name)(tmp_path)
    found = inspect(str(tmp_path / name))
    assert found.remark is None and found.duration == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("form", GOOD)
def test_good_forms_are_read_as_what_they_hold(tmp_path, form):
    write, name = GOOD[form]
    write(tmp_path)
    found, wav = inspect(str(tmp_path / name)), audio.read(str(tmp_path / name), RATE).numpy()
    assert found.remark is None
    seconds = 6 if "MP3" in form.upper() and form != "wav named mp3" or "opus" in form else 1
    assert found.duration == pytest.approx(seconds, abs=0.1) and len(wav) == pytest.approx(
        seconds * RATE, abs=0.1 * RATE
    )
    middle = wav[len(wav) // 2 - 2000 : len(wav) // 2 + 2000]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert spectrum.argmax() * RATE / len(middle) == pytest.approx(220, abs=5)  # the tone, at its pitch
    files = transcription.find([tmp_path / name], (".wav", ".flac", ".mp3", ".ogg"))
    assert list(files) == [tmp_path / name]


class Deaf:
    """Of a Brain what `transcribe` asks before anything is heard; all is refused."""

    endings = (".wav",)

    def inspect(self, path):
        inspect(path)
        raise ValueError("would be heard")


def test_every_file_is_accounted_for_at_preparation_and_transcription(tmp_path):
    clips, rows = tmp_path / "clips", []
    for number, (write, name) in enumerate([*((w, n) for w, n, _ in REFUSED.values()), (samples("a.wav"), "a.wav")]):
        folder = clips / f"{number:02d}"
        folder.mkdir(parents=True)
        write(folder)
        rows.append(f"c{number}\tclips/{number:02d}/{name}\tJa.\ttrain\n")
    (clips / "notes.txt").write_text("beside")
    (tmp_path / "manifest.tsv").write_text("ID\taudio\ttext\tsplit\n" + "".join(rows))
    counts = prepare(utterances, tmp_path, tmp_path / "out", "nl", ["train"], Limits())
    assert counts == {"train": 1, "rejected": len(REFUSED)}
    with open(tmp_path / "out/rejected.csv", newline="") as file:
        reasons = [row["reason"] for row in csv.DictReader(file)]
    assert len(set(reasons)) > 30

    files = transcription.find([clips], (".wav",))
    present = {p for p in clips.rglob("*") if not p.is_dir() or p.name == "a.wav"}
    assert set(files) == present
    heard, refused = transcription.Listener(Deaf(), Limits(), "nl", 1).clips(files)
    assert heard == [] and set(refused) == present
    assert list(refused.values()).count("would be heard") == 1
    assert refused[clips / "notes.txt"] == "no recording: a file with the ending '.txt'"


def test_remarks_are_counted(tmp_path, capsys):
    SAID["clipped"][0](tmp_path)
    (tmp_path / "train.tsv").write_text("audio\ttext\na.wav\tJa.\n")
    prepare(utterances, tmp_path, tmp_path / "out", "nl", ["train"], Limits())
    assert manifest.read_done(tmp_path / "out")["remarks"] == {"audio is clipped": 1}
    assert "remarks.csv: {'audio is clipped': 1}" in capsys.readouterr().out
    assert "train,a," in (tmp_path / "out" / manifest.REMARKS).read_text()


LISTS = {
    "text twice": ("train.tsv", "audio\ttext\ttext\na.wav\tJa.\tNee.\n", "'text' stands 2 times in the header"),
    "text twice in other letters": ("train.csv", "audio,text,Text\na.wav,Ja.,Nee.\n", "'text' stands 2 times"),
    "any column twice": ("train.tsv", "audio\ttext\tx\tx\na.wav\tJa.\t1\t2\n", "'x' stands 2 times"),
    "no name": ("train.tsv", "audio\t\ttext\na.wav\t1\tJa.\n", "column 2 of 3 has no name"),
    "no header": ("train.tsv", "\naudio\ttext\n", "no header"),
    "empty": ("train.tsv", "", "no header"),
    "semicolons": ("train.csv", "audio;text\na.wav;Ja.\n", "separated by ';', expected ','"),
    "tabs in a csv": ("train.csv", "audio\ttext\na.wav\tJa.\n", r"separated by '\\t', expected ','"),
    "commas in a tsv": ("train.tsv", "audio,text\na.wav,Ja.\n", r"separated by ',', expected '\\t'"),
    "bars": ("train.csv", "audio|text\na.wav|Ja.\n", r"separated by '\|'"),
    "key twice": ("train.jsonl", '{"audio": "a.wav", "text": "Ja.", "text": "Nee."}\n', "key 'text' stands twice"),
    "no JSON": ("train.jsonl", "{audio\n", "not JSON in UTF-8"),
    "a field too many": ("train.tsv", "audio\ttext\na.wav\tJa.\tx\n", "3 fields, but the header names 2"),
    "row twice": ("train.tsv", "audio\ttext\na.wav\tJa.\na.wav\tJa.\n", "occurs 2 times"),
    "ID twice": ("train.tsv", "ID\taudio\ttext\n1\ta.wav\tJa.\n1\tb.wav\tNee.\n", "ID '1' occurs 2 times"),
    "UTF-16": ("train.tsv", "audio\ttext\na.wav\tJa.\n".encode("utf-16"), "not UTF-8"),
}


@pytest.mark.parametrize("case", LISTS)
def test_list_is_refused_by_its_reason(tmp_path, case):
    name, text, reason = LISTS[case]
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=reason):
        prepare(utterances, tmp_path, Path(tmp_path / "out"), "nl", ["train"], Limits())


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path):
    samples("a.wav")(tmp_path)
    (tmp_path / "train.csv").write_bytes("\ufeffaudio,text\na.wav,Ja.\n".encode())
    assert prepare(utterances, tmp_path, tmp_path / "out", "nl", ["train"], Limits()) == {"train": 1, "rejected": 0}
