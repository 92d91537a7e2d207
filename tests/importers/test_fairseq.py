"""fairseq checkpoints: the same numbers as a model with fairseq's modules and names, read without fairseq."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import fairseq_hubert as fs
import pytest
import torch
from foreign_hubert import hubert, saved
from small import noise
from torch import Tensor, nn

import zoo
from zoo import loading
from zoo.encoder import Encoder
from zoo.errors import CheckpointError

TOLERANCE = 1e-4
pytestmark = pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")  # fairseq uses it


def load(path: Path) -> Encoder:
    return zoo.load(path, device="cpu")


def reference(codebooks: tuple[int, ...] = (14,), channels: int = 48, **changes: Any) -> fs.Hubert:
    torch.manual_seed(0)
    return fs.Hubert({**fs.MODEL, **changes}, channels, codebooks).eval()


def pretrained(path: Path, theirs: fs.Hubert, *, form: str = "containers", new: bool = True, **content: Any) -> Path:
    content = {"model": theirs.state_dict(), **fs.configuration(form, theirs.cfg, fs.TASK), **content}
    return fs.write(path, content, new=new)


@pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("form", fs.FORMS)
@pytest.mark.parametrize("kind", [{}, fs.LARGE], ids=["base", "large"])
def test_every_layer_of_a_pretrained_model(kind: dict[str, Any], form: str, new: bool, tmp_path: Path) -> None:
    theirs = reference(**kind)
    ours = load(pretrained(tmp_path / "hubert.pt", theirs, form=form, new=new))
    assert not any(name.partition(".")[0] == "fairseq" for name in sys.modules)
    wave = noise(2.0)
    x = ours.encode(wave, 16_000, layer="all").x[:, 0]
    assert (x - theirs.states(wave)).abs().max() <= TOLERANCE
    assert torch.equal(ours.mask_embedding, theirs.mask_emb)
    assert (ours.config.layerdrop, ours.config.normalize, ours.provenance["layout"]) == (0.05, False, "fairseq")


@pytest.mark.parametrize("kind", ["base", "large"])
def test_fairseq_and_hugging_face_names_give_the_same_model(kind: str, tmp_path: Path) -> None:
    names = (
        ("masked_spec_embed", "mask_emb"),
        (r"conv_layers\.(\d+)\.conv", r"conv_layers.\1.0"),
        (r"conv_layers\.(\d+)\.layer_norm", r"conv_layers.\1.2" if kind == "base" else r"conv_layers.\1.2.1"),
        (r"feature_projection\.layer_norm", "layer_norm"),
        (r"feature_projection\.projection", "post_extract_proj"),
        (r"pos_conv_embed\.conv\.parametrizations\.weight\.original0", "pos_conv.0.weight_g"),
        (r"pos_conv_embed\.conv\.parametrizations\.weight\.original1", "pos_conv.0.weight_v"),
        (r"pos_conv_embed\.conv", "pos_conv.0"),
        (r"layers\.(\d+)\.layer_norm", r"layers.\1.self_attn_layer_norm"),
        (r"\.attention\.", ".self_attn."),
        (r"feed_forward\.intermediate_dense", "fc1"),
        (r"feed_forward\.output_dense", "fc2"),
    )

    def rename(name: str) -> str:
        for pattern, replacement in names:
            name = re.sub(pattern, replacement, name)
        return name

    theirs = hubert(kind)
    through_hf = load(saved(theirs, tmp_path / "hf"))
    model = reference(**(fs.LARGE if kind == "large" else {}))
    tensors = {rename(name): tensor for name, tensor in theirs.state_dict().items()}
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    assert sorted(missing) == ["final_proj.bias", "final_proj.weight", "label_embs_concat"]
    assert not unexpected
    through_fairseq = load(pretrained(tmp_path / "hubert.pt", model))
    for name, tensor in through_hf.state_dict().items():
        assert torch.equal(tensor, through_fairseq.state_dict()[name]), name
    wave = noise(1.5)
    assert torch.equal(through_hf.embed(wave, 16_000, layer="all"), through_fairseq.embed(wave, 16_000, layer="all"))


def test_normalization_follows_the_task(tmp_path: Path) -> None:
    theirs = reference()
    task = {**fs.TASK, "normalize": True}
    ours = load(pretrained(tmp_path / "hubert.pt", theirs, **fs.configuration("omegaconf", theirs.cfg, task)))
    assert ours.config.normalize is True
    wave = noise(1.0) * 0.003 + 0.2
    x = ours.encode(wave, 16_000, layer="all").x[:, 0]
    expected = theirs.states(nn.functional.layer_norm(wave, wave.shape))
    assert (x - expected).abs().max() <= 1e-2 * expected.abs().max()  # the epsilons differ: 1e-5 there, 1e-7 here


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("untied", [False, True])
@pytest.mark.parametrize("codebooks", [(14,), (9, 24)])
def test_unit_head_without_the_special_symbols(
    codebooks: tuple[int, ...], untied: bool, shuffled: bool, tmp_path: Path
) -> None:
    theirs = reference(codebooks, untie_final_proj=untied)
    orders = [torch.randperm(n - 4).tolist() if shuffled else list(range(n - 4)) for n in codebooks]
    dictionaries = [fs.Dictionary([str(unit) for unit in order]) for order in orders]
    path = pretrained(tmp_path / "hubert.pt", theirs, task_state={"dictionaries": dictionaries})
    ours = load(path)
    assert ours.config.units == tuple(n - 4 for n in codebooks)
    wave = noise(1.0)
    x = theirs.states(wave)[-1]
    with torch.no_grad():
        logits = ours.head(x)
    for mine, their, order in zip(logits, theirs.unit_logits(x, codebooks), orders, strict=True):
        for row, unit in enumerate(order):
            assert (mine[:, unit] - their[:, 4 + row]).abs().max() <= TOLERANCE


def test_one_codebook_needs_no_dictionary_but_several_do(tmp_path: Path) -> None:
    assert load(pretrained(tmp_path / "one.pt", reference())).config.units == (10,)
    with pytest.raises(CheckpointError, match="no dictionaries to part them"):
        load(pretrained(tmp_path / "two.pt", reference((9, 24))))
    short = {"pt_dictionaries": {"km": fs.Dictionary(["0", "1"])}}
    with pytest.raises(CheckpointError, match=r"label_embs_concat has 14 rows, its dictionaries \[6\] symbols"):
        load(pretrained(tmp_path / "short.pt", reference(), task_state=short))


def test_equal_widths_have_no_projection(tmp_path: Path) -> None:
    layers = fs.CONV_LAYERS.replace("48", "64")
    theirs = reference(channels=64, conv_feature_layers=layers)
    assert "post_extract_proj.weight" not in theirs.state_dict()
    ours = load(pretrained(tmp_path / "hubert.pt", theirs))
    wave = noise(1.0)
    assert (ours.encode(wave, 16_000, layer="all").x[:, 0] - theirs.states(wave)).abs().max() <= TOLERANCE


LETTERS = ["|", "E", "T", "A", "'"]


def fine_tuned(path: Path, *, arguments: str = "containers", **content: Any) -> tuple[fs.Hubert, nn.Linear, Path]:
    """As HubertCtc is saved: the encoder without final_proj, inside w2v_encoder, and its output layer."""
    theirs = reference()
    output = nn.Linear(64, 4 + len(LETTERS))
    state = {f"w2v_encoder.w2v_model.{n}": t for n, t in theirs.state_dict().items() if "final_proj" not in n}
    state |= {f"w2v_encoder.proj.{n}": t for n, t in output.state_dict().items()}
    inner = fs.configuration(arguments, theirs.cfg, fs.TASK)
    model = {"_name": "hubert_ctc", "w2v_path": "x.pt", "w2v_args": inner.get("cfg") or inner["args"], "dropout": 0.0}
    outer = {"cfg": {"model": model, "task": {**fs.TASK, "labels": ["ltr"], "fine_tuning": True}}}
    return theirs, output, fs.write(path, {"model": state, **outer, **content})


@pytest.mark.parametrize("arguments", fs.FORMS)
@pytest.mark.parametrize("where", ["target_dictionary", "ft_dictionaries", "beside"])
def test_fine_tuned_model_with_its_letters(where: str, arguments: str, tmp_path: Path) -> None:
    dictionary: Any = fs.Dictionary(LETTERS)
    states = {
        "target_dictionary": {"target_dictionary": dictionary},
        "ft_dictionaries": {"pt_dictionaries": {"km": fs.Dictionary(["0"])}, "ft_dictionaries": {"ltr": dictionary}},
        "beside": {},
    }
    theirs, output, path = fine_tuned(tmp_path / "ctc.pt", arguments=arguments, task_state=states[where])
    if where == "beside":
        (tmp_path / "dict.ltr.txt").write_text("".join(f"{letter} {9 - i}\n" for i, letter in enumerate(LETTERS)))
    ours = load(path)
    assert ours.config.vocabulary == ("<s>", "<pad>", "</s>", "<unk>", *LETTERS)
    assert ours.config.units == ()
    assert ours.provenance["left_out"] == ["label_embs_concat"]
    wave = noise(1.0)
    with torch.no_grad():
        expected = output(theirs.states(wave)[-1])
    assert (ours.logits(wave, 16_000).x[0] - expected).abs().max() <= TOLERANCE


def test_fine_tuned_without_letters_or_architecture(tmp_path: Path) -> None:
    _, _, path = fine_tuned(tmp_path / "ctc.pt", task_state={"target_dictionary": fs.Dictionary(["A"])})
    with pytest.raises(CheckpointError, match=r"no dictionary with the 9 symbols .*dict\.ltr\.txt"):
        load(path)
    cfg = {"model": {"_name": "hubert_ctc", "w2v_args": None}, "task": fs.TASK}
    _, _, path = fine_tuned(tmp_path / "bare.pt", cfg=cfg)
    with pytest.raises(CheckpointError, match="w2v_args, the configuration of the pre-trained encoder, is missing"):
        load(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"activation_fn": "relu"}, "activation_fn is 'relu'"),
        ({"target_glu": True}, "target_glu is True"),
        ({"layer_type": "conformer"}, "layer_type is 'conformer'"),
        ({"pos_conv_depth": 5}, "pos_conv_depth is 5"),
        ({"extractor_mode": "batch"}, "extractor_mode is 'batch'"),
        ({"conv_feature_layers": "[(48,10,5)] + [(48,3,2)] * 6"}, "conv_feature_layers is"),
        ({"conv_feature_layers": "[(48,10,5)] + [(48,3,2)] * 4 + [(64,2,2)] * 2"}, "conv_feature_layers is"),
        ({"conv_feature_layers": "__import__('os').mkdir('x')"}, "conv_feature_layers is"),
        ({"encoder_layers": 4}, r"missing     transformer\.blocks\.3\.attention\.qkv\.weight"),
        ({"encoder_embed_dim": "${x}"}, "config is not valid"),
    ],
)
def test_configuration_that_does_not_fit(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    theirs = reference()
    content = fs.configuration("containers", {**theirs.cfg, **changes}, fs.TASK)
    with pytest.raises(CheckpointError, match=message):
        load(pretrained(tmp_path / "hubert.pt", theirs, **content))


@pytest.mark.parametrize(
    "written", ["[(48, 10, 5)]+[(48,3,2)]*4+[(48,2,2)]*2", "[(48,10,5),(48,3,2)]+[(48,3,2)]*3+[(48,2,2)]*2"]
)
def test_spellings_of_the_front_end(written: str, tmp_path: Path) -> None:
    assert load(pretrained(tmp_path / "hubert.pt", reference(conv_feature_layers=written))).config.conv_dim == 48


def test_interpolated_normalization_is_not_taken_for_true(tmp_path: Path) -> None:
    theirs = reference()
    cfg = {"model": theirs.cfg, "task": {**fs.TASK, "normalize": "${model.normalize}"}}
    with pytest.raises(CheckpointError, match=r"normalize is '\$\{model\.normalize\}' instead of true or false"):
        load(pretrained(tmp_path / "hubert.pt", theirs, cfg=cfg))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"cfg": {"model": None}}, "neither cfg.model nor args"),
        ({"model": torch.zeros(2)}, "mapping from names to tensors"),
        ({"model": {"mask_emb": [1.0]}}, "mapping from names to tensors"),
        ({"model": {"quantizer.vars": torch.zeros(1, 2), "project_q.bias": torch.zeros(3)}}, "2 tensors have no place"),
        ({"model": {"w2v_encoder.w2v_model.mask_emb": torch.zeros(3)}}, "w2v_args"),
    ],
)
def test_content_that_is_no_hubert(content: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=message):
        load(pretrained(tmp_path / "hubert.pt", reference(), **content))


def test_other_torch_files_are_named(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "weights": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=r"content with 'epoch', 'weights' is no model .*fairseq HuBERT \.pt"):
        load(tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=r"absent\.pt: no such file or directory"):
        loading.load_foreign(tmp_path / "absent.pt")
    torch.save([torch.zeros(2)], tmp_path / "list.pt")
    with pytest.raises(CheckpointError, match="holds a list"):
        load(tmp_path / "list.pt")


def test_hostile_checkpoint_loads_and_runs_nothing(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'touched'}",)

    theirs = reference()
    path = pretrained(tmp_path / "hubert.pt", theirs, extra_state={"hook": Payload(), Payload(): 1})
    assert load(path).config.units == (10,)
    assert not (tmp_path / "touched").exists()


def test_converted_checkpoint_is_the_same_model(tmp_path: Path) -> None:
    converted = loading.convert(pretrained(tmp_path / "hubert.pt", reference()), tmp_path / "ours")
    again = load(tmp_path / "ours")
    assert (again.fingerprint(), again.config, again.name) == (converted.fingerprint(), converted.config, "hubert")
    assert again.provenance == {"source": str(tmp_path / "hubert.pt"), "layout": "fairseq"}


def test_weights_are_mapped_and_not_copied(tmp_path: Path) -> None:
    """Reading a checkpoint whose optimizer state is large must not cost its size."""
    big = {"exp_avg": torch.zeros(40_000_000)}
    path = pretrained(tmp_path / "hubert.pt", reference(), last_optimizer_state=big)
    before = _private_bytes()
    load(path)
    assert _private_bytes() - before < 80_000_000 < path.stat().st_size


def _private_bytes() -> int:
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("needs /proc")
    return int(re.search(r"RssAnon:\s+(\d+) kB", status.read_text())[1]) * 1024  # type: ignore[index]


def test_shapes_are_checked_like_names(tmp_path: Path) -> None:
    theirs = reference()
    state: dict[str, Tensor] = theirs.state_dict()
    state["mask_emb"] = torch.zeros(3)
    with pytest.raises(CheckpointError, match=r"mask_embedding: \(3,\) in the file, \(64,\) in the model"):
        load(pretrained(tmp_path / "hubert.pt", theirs, model=state))
