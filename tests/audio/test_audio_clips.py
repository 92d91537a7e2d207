"""as_clips and pad: every accepted form of `waves`, and every form that is refused."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from audio_files import sound
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo import audio
from zoo.errors import AudioError

RATE = 16000


def tone(samples: int = 4000, seed: int = 0) -> torch.Tensor:
    return torch.rand(samples, generator=torch.Generator().manual_seed(seed)) - 0.5


def test_single_forms(tmp_path: Path) -> None:
    wave = tone()
    soundfile.write(tmp_path / "a.wav", wave.numpy(), RATE, subtype="FLOAT")
    spooled = audio.SpooledWave([wave], RATE)
    for form in (wave, wave.numpy(), wave.double(), tmp_path / "a.wav", str(tmp_path / "a.wav"), spooled):
        clips, single = audio.as_clips(form, RATE, RATE)
        assert single and len(clips) == 1
        assert torch.equal(clips[0][:], wave) and clips[0][:].dtype == torch.float32
    assert audio.as_clips(spooled, None, RATE)[0][0] is spooled


def test_many_forms(tmp_path: Path) -> None:
    waves = [tone(4000), tone(1000, 1), tone(2500, 2), tone(1, 3)]
    soundfile.write(tmp_path / "a.wav", waves[2].numpy(), RATE, subtype="FLOAT")
    mixed = [waves[0], waves[1].numpy(), tmp_path / "a.wav", audio.SpooledWave([waves[3]], RATE)]
    for form in (waves, tuple(waves), mixed):
        clips, single = audio.as_clips(form, RATE, RATE)
        assert not single and all(torch.equal(clip[:], wave) for clip, wave in zip(clips, waves, strict=True))
    batch = torch.stack([tone(300, seed) for seed in range(5)])
    for form in (batch, batch.numpy(), batch[:1]):
        clips, single = audio.as_clips(form, RATE, RATE)
        assert not single and torch.equal(torch.stack(clips), torch.as_tensor(form))
    clips, single = audio.as_clips([tmp_path / "a.wav"], None, RATE)
    assert not single and len(clips) == 1


def test_iterables_are_lists(tmp_path: Path) -> None:
    waves = [tone(4000), tone(1000, 1)]
    paths = [tmp_path / f"{i}.wav" for i in range(2)]
    for path, wave in zip(paths, waves, strict=True):
        soundfile.write(path, wave.numpy(), RATE, subtype="FLOAT")
    names = list(map(str, paths))
    objects = np.empty(2, object)
    objects[:] = [wave.numpy() for wave in waves]
    by_name = dict(zip(names, waves, strict=True))
    for form in (
        *(np.array(names), np.array(paths), objects),
        *(tmp_path.glob("0.wav"), (wave for wave in waves), by_name.values(), by_name.keys(), iter(paths)),
    ):
        clips, single = audio.as_clips(form, RATE, RATE)
        assert not single and clips
        assert all(torch.equal(clip[:], wave) for clip, wave in zip(clips, waves, strict=False))
    assert audio.as_clips(np.array(names[0]), None, RATE)[1], "an array of one string and no axis is that string"


def test_columns_of_tables(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    soundfile.write(tmp_path / "a.wav", tone().numpy(), RATE, subtype="FLOAT")
    for value in (str(tmp_path / "a.wav"), tmp_path / "a.wav", tone().numpy()):
        clips, single = audio.as_clips(pandas.Series([value]), RATE, RATE)
        assert not single and torch.equal(clips[0][:], tone())
    with pytest.raises(AudioError, match="waves: a list must hold one array or path per clip"):
        audio.as_clips(pandas.Series([0.1, 0.2], dtype="float32"), RATE, RATE)
    with pytest.raises(AudioError, match="waves: a DataFrame is a table; pass the column"):
        audio.as_clips(pandas.DataFrame({"path": ["a.wav"]}), RATE, RATE)


def test_open_files(tmp_path: Path) -> None:
    wave = tone(4000)
    soundfile.write(tmp_path / "a.flac", wave.numpy(), 8000)
    expected = audio.load(tmp_path / "a.flac", RATE)
    data = io.BytesIO((tmp_path / "a.flac").read_bytes())
    with (tmp_path / "a.flac").open("rb") as file:
        (first, second), single = audio.as_clips([data, file], None, RATE)
    assert not single and torch.equal(first[:], expected[:]) and torch.equal(second[:], expected[:])
    with pytest.raises(AudioError, match="waveform: cannot be read"):
        audio.as_clips(file, None, RATE)


def test_files_keep_their_own_rate(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", sound(8000, 1.0), 8000)
    array = tone(RATE)
    clips, _ = audio.as_clips([tmp_path / "a.wav", array], 32000, RATE)
    assert len(clips[0]) == RATE and len(clips[1]) == RATE // 2
    assert torch.equal(clips[0], audio.load(tmp_path / "a.wav", RATE))
    assert torch.equal(clips[1], audio.resample(array, 32000, RATE))


def test_a_rate_that_is_not_that_of_the_recordings(tmp_path: Path) -> None:
    """Without arrays it can only mean the recordings: an error, rather than a value without effect."""
    path = tmp_path / "a.wav"
    soundfile.write(path, sound(8000, 1.0), 8000)
    spooled = audio.SpooledWave([tone()], 8000)
    row = {"array": tone().numpy(), "sampling_rate": 8000}
    for form in (path, [path], iter([str(path)]), spooled, [spooled], row, [row, path]):
        with pytest.raises(AudioError, match="has a sample rate of 8000 Hz, not 44100; leave sample_rate out"):
            audio.as_clips(form, 44100, RATE)
    data = io.BytesIO(path.read_bytes())
    with pytest.raises(AudioError, match=r"^waveform 0: has a sample rate of 8000 Hz, not 44100"):
        audio.as_clips([data], 44100, RATE)
    with pytest.raises(AudioError, match=r"a\.wav: has a sample rate of 8000 Hz"):
        audio.as_clip(path, 44100, RATE)
    with pytest.raises(AudioError, match="not a sample rate"):
        audio.as_clip(path, 8, RATE)
    clips, _ = audio.as_clips([path, spooled, row], 8000, RATE)
    assert len(clips) == 3


def test_rows_of_hugging_face_datasets() -> None:
    wave = tone()
    row = {"path": "a.flac", "array": wave.double().numpy(), "sampling_rate": 32000}
    expected = audio.resample(wave, 32000, RATE)
    for form in (row, {**row, "array": wave.tolist()}, {**row, "array": wave}):
        clips, single = audio.as_clips(form, None, RATE)
        assert single
        torch.testing.assert_close(clips[0][:], expected, atol=1e-6, rtol=0)
    clips, single = audio.as_clips([row, {**row, "sampling_rate": RATE}, wave], 8000, RATE)
    assert not single and [len(clip) for clip in clips] == [2000, 4000, 8000]
    assert torch.equal(audio.as_clip(row, None, RATE)[:], clips[0][:])


@pytest.mark.parametrize("rate", [16000.0, np.int64(16000), np.float32(16000)])
def test_rates_of_any_number_type(rate: float) -> None:
    assert len(audio.as_clips(tone(), rate, 8000)[0][0]) == 2000  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([-32768, 0, 16384, 32767], np.int16), [-1, 0, 0.5, 32767 / 32768]),
        (np.array([-(2**31), 0, 2**30], np.int32), [-1, 0, 0.5]),
        (np.array([0, 128, 192, 255], np.uint8), [-1, 0, 0.5, 127 / 128]),
        (np.array([-128, 0, 64], np.int8), [-1, 0, 0.5]),
        (np.array([-32768, 0, 16384], ">i2"), [-1, 0, 0.5]),
        (np.array([-1, 0, 0.5], np.float16), [-1, 0, 0.5]),
        (np.array([-1, 0, 0.5], np.longdouble), [-1, 0, 0.5]),
        (np.array([-1, 0, 0.5], ">f8"), [-1, 0, 0.5]),
        (np.array([0.5, 9, 0, 9, -1, 9])[::-2][::-1][::-1], [9.0, 9.0, 9.0]),
        (torch.tensor([-1, 0, 0.5], dtype=torch.bfloat16), [-1, 0, 0.5]),
        (torch.tensor([-1, 0, 0.5], dtype=torch.float16), [-1, 0, 0.5]),
        (torch.tensor([-32768, 0, 16384], dtype=torch.int16), [-1, 0, 0.5]),
    ],
)
def test_types(values: np.ndarray | torch.Tensor, expected: list[float]) -> None:
    if expected[0] == 9.0:
        values = values / 18  # negative strides, and back in range
        expected = [0.5, 0.5, 0.5]
    clip = audio.as_clips(values, RATE, RATE)[0][0]
    assert clip.dtype == torch.float32 and clip.tolist() == expected  # type: ignore[union-attr]


def test_arrays_of_the_caller_do_not_change() -> None:
    array = tone().numpy()
    array.flags.writeable = False
    clip = audio.as_clips(array, RATE, RATE)[0][0]
    clip[:] = 0  # type: ignore[index]
    assert array.any()
    trained = tone().requires_grad_()
    assert not audio.as_clips(trained, RATE, RATE)[0][0].requires_grad  # type: ignore[union-attr]
    assert not audio.as_clips(trained * 2, RATE, 8000)[0][0].requires_grad  # type: ignore[union-attr]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_waves_on_a_gpu() -> None:
    clip = audio.as_clips(tone().cuda(), RATE, RATE)[0][0]
    assert clip.device.type == "cpu" and torch.equal(clip, tone())  # type: ignore[union-attr]


WRONG = {
    "pairs of samples": (np.zeros((4000, 2)), r"waves: shape \(4000, 2\) looks like \(samples, channels\).*mean\(1\)"),
    "3-D": (torch.zeros(2, 2, 4000), r"waveform: has shape \(2, 2, 4000\)"),
    "0-d": (np.array(0.5), r"waveform: has shape \(\)"),
    "empty list": ([], "waves: the list is empty"),
    "empty batch": (np.zeros((0, 4000)), "waves: the batch is empty"),
    "batch without samples": (np.zeros((3, 0)), "waveform 0: is empty"),
    "empty array": (np.zeros(0), "waveform: is empty"),
    "empty item": ([np.ones(10), np.zeros(0)], "waveform 1: is empty"),
    "2-D item": ([np.ones(10), np.ones((2, 10))], r"waveform 1: has shape \(2, 10\)"),
    "numbers": ([0.1, 0.2], "waves: a list must hold one array or path per clip"),
    "lists of numbers": ([[0.1, 0.2], [0.3]], "waves: a list must hold one array or path per clip"),
    "int64": (np.arange(10), "waveform: int64 samples are not audio"),
    "uint16": ([np.arange(10, dtype=np.uint16)], "waveform 0: uint16 samples are not audio"),
    "bool": (torch.ones(10, dtype=torch.bool), "waveform: bool samples are not audio"),
    "complex": (np.ones(10, np.complex64), "waveform: complex64 samples are not audio"),
    "complex tensor": (torch.ones(10, dtype=torch.complex64), "waveform: complex64 samples are not audio"),
    "objects": (np.array([None]), "waveform 0: a NoneType is not a waveform"),
    "objects that are numbers": (np.array([0.1, 0.2], object), "waves: a list must hold one array or path per clip"),
    "set": ({"a.wav", "b.wav"}, "waveform: a set is not a waveform"),
    "bytes": (b"RIFF", "waveform: a bytes is not a waveform"),
    "empty generator": (iter(()), "waves: the list is empty"),
    "None": (None, "waveform: a NoneType is not a waveform; pass .* a path, or a list of them"),
    "text file": (io.StringIO("a.wav"), "waveform: is open in text mode"),
    "file at its end": ([io.BytesIO()], r"waveform 0: is empty; .* seek\(0\)"),
    "file that is not audio": (io.BytesIO(b"hello, this is text" * 99), "waveform: (is not audio|.*cannot be decoded)"),
    "dict": ({"array": np.ones(10)}, "waveform: a dict is not a waveform; only .*sampling_rate"),
    "row of several columns": (
        [{"audio": {"array": np.ones(10), "sampling_rate": 8000}, "text": ""}],
        r'waveform 0: a dict is not a waveform; pass row\["audio"\]',
    ),
    "row without a rate": ({"array": np.ones(10), "sampling_rate": None}, "waveform: None is not a sample rate"),
    "row of stereo": ({"array": np.ones((2, 10)), "sampling_rate": RATE}, r"waveform: has shape \(2, 10\)"),
    "row of ragged lists": (
        {"array": [[1.0], [1.0, 2.0]], "sampling_rate": RATE},
        "waveform: the array of this row holds lists",
    ),
    "row without samples": ({"array": [], "sampling_rate": RATE}, "waveform: is empty"),
    "None in a list": ([np.ones(10), None], "waveform 1: a NoneType is not a waveform"),
    "NaN": ([np.ones(10), np.array([0, np.nan])], "waveform 1: sample 1 is nan"),
    "infinity": (torch.tensor([[0.0] * 100, [0.0] * 99 + [-torch.inf]]), "waveform 1: sample 99 is -inf"),
    "float16 overflow of float64": (np.array([0, 1e300]), "waveform: sample 1 is inf"),
    "missing file": ([np.ones(10), "nothing.wav"], "nothing.wav: no such file"),
}


@pytest.mark.parametrize("case", WRONG)
def test_refused(case: str) -> None:
    waves, reason = WRONG[case]
    with pytest.raises(AudioError, match=f"^{reason}"):
        audio.as_clips(waves, RATE, RATE)


def test_arrays_need_a_rate() -> None:
    for waves, name in ((tone(), "waveform"), ([tone()], "waveform 0"), (tone().reshape(2, -1), "waveform 0")):
        with pytest.raises(AudioError, match=rf"^{name}: .*pass sample_rate="):
            audio.as_clips(waves, None, RATE)
    for rate in (0, -5, "16000", 0.1):
        with pytest.raises(AudioError, match="sample rate"):
            audio.as_clips(tone(), rate, RATE)  # type: ignore[arg-type]


def test_integers_as_floats() -> None:
    for scale in (100, 2000, 32767):
        with pytest.raises(AudioError, match=r"waveform: .*int16 samples in float format.*divide by 2\*\*15"):
            audio.as_clips((tone() * 2 * scale).round(), RATE, RATE)
        with pytest.raises(AudioError, match="int16 samples"):  # resampled: no longer whole
            audio.as_clips(tone() * 2 * max(scale, 200), RATE, RATE)
    with pytest.raises(AudioError, match="int16 samples"):  # very quiet, but whole
        audio.as_clips((tone() * 20).round(), RATE, RATE)
    with pytest.raises(AudioError, match=r"waveform 1: .*int32 samples"):
        audio.as_clips([tone(), tone() * 2**31], RATE, RATE)


def test_loud_floats_pass() -> None:
    loud = tone() * 6  # a mix 10 dB above full scale
    standardized = (tone() - tone().mean()) / tone().std() * 10  # unit variance with bursts
    click = torch.tensor([0.0, 1.0, 0.0, -1.0])
    for wave in (loud, standardized, click):
        assert torch.equal(audio.as_clips(wave, RATE, RATE)[0][0], wave)  # type: ignore[arg-type]


def test_spooled_wave_at_another_rate() -> None:
    wave = tone(40000)
    clip = audio.as_clips(audio.SpooledWave(wave.split(999), 32000), None, RATE)[0][0]
    torch.testing.assert_close(clip[:], audio.resample(wave, 32000, RATE), atol=1e-6, rtol=0)
    with pytest.raises(AudioError, match="waveform: is empty"):
        audio.as_clips(audio.SpooledWave([], RATE), None, RATE)


@settings(max_examples=30, deadline=None)
@given(lengths=st.lists(st.integers(1, 500), min_size=1, max_size=9))
def test_pad(lengths: list[int]) -> None:
    clips = [tone(length, seed) + 1 for seed, length in enumerate(lengths)]
    batch, sizes = audio.pad(clips)
    assert batch.shape == (len(lengths), max(lengths)) and batch.dtype == torch.float32
    assert sizes.dtype == torch.int64 and sizes.tolist() == lengths
    for row, clip in zip(batch, clips, strict=True):
        assert torch.equal(row[: len(clip)], clip) and not row[len(clip) :].any()


def test_pad_nothing() -> None:
    with pytest.raises(AudioError, match="empty"):
        audio.pad([])
