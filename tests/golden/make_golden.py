"""Make the golden arrays of this folder from the packages that the networks come from.

Nothing of voxport is imported. Run it only to add arrays or to check that the committed ones
reproduce (``--check``); the tests read the ``.npz`` files and need none of this:

    python -m venv original && . original/bin/activate
    pip install pyannote.audio==4.0.7 kaldi-native-fbank
    pip download --no-deps modelscope==1.40.2
    python tests/golden/make_golden.py --segmentation pytorch_model.bin \
        --campplus campplus_cn_en_common.pt --sample sample.wav \
        --modelscope-wheel modelscope-1.40.2-py3-none-any.whl

``pytorch_model.bin`` is pyannote/segmentation-3.0, ``campplus_cn_en_common.pt`` 3D-Speaker's CAM++
(192-d, 200k speakers), ``sample.wav`` ships inside pyannote.audio. The checkpoint of the
segmentation is unpickled by pyannote.audio itself: give it only a file that you trust.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import importlib.util
import sys
import types
import wave
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import kaldi_native_fbank
import numpy as np
import numpy.typing as npt
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # tests/

from seeded import Shapes, fingerprint, seeded_state, shapes_to_json
from signals import full_scale_noise, silence, speechlike

Arrays = dict[str, npt.NDArray[Any]]

FOLDER = Path(__file__).resolve().parent
SEED = 20240601
SAMPLE_RATE_HZ = 16000
WINDOW = 160000
POWERSETS = ((2, 1), (2, 2), (3, 1), (3, 2), (3, 3), (4, 2), (4, 4), (5, 3))


def main() -> int:
    arguments = parse_arguments()
    torch.set_grad_enabled(False)
    provide_torchaudio()
    sample = read_wav(arguments.sample)
    goldens = {
        "segmentation": segmentation(arguments.segmentation, sample),
        "campplus": campplus(arguments.modelscope_wheel, arguments.campplus, sample),
        "wespeaker": wespeaker(),
        "powerset": powerset(),
    }
    if arguments.check:
        same = [reproduces(name, arrays) for name, arrays in goldens.items()]
        return 0 if all(same) else 1
    for name, arrays in goldens.items():
        np.savez_compressed(FOLDER / f"{name}.npz", allow_pickle=False, **arrays)
        print(f"{name}.npz: {(FOLDER / f'{name}.npz').stat().st_size / 1024:.0f} KiB")
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name in ("segmentation", "campplus", "sample", "modelscope-wheel"):
        parser.add_argument(f"--{name}", type=Path, required=True, metavar="FILE")
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    return parser.parse_args()


def reproduces(name: str, arrays: Arrays) -> bool:
    """Whether the committed file holds these very arrays."""
    with np.load(FOLDER / f"{name}.npz") as committed:
        stale = sorted(set(arrays) ^ set(committed))
        shared = set(arrays) & set(committed)
        stale += sorted(key for key in shared if not np.array_equal(arrays[key], committed[key]))
    print(f"{name}.npz: {f'differs in {stale}' if stale else 'reproduced'}")
    return not stale


def made_with(*packages: str, checkpoint: str | None = None) -> Arrays:
    versions = [f"{name} {importlib.metadata.version(name)}" for name in (*packages, "torch")]
    if checkpoint is not None:
        versions.append(checkpoint)
    return {"made_with": np.array(", ".join(versions))}


def read_wav(path: Path) -> npt.NDArray[np.float32]:
    with wave.open(str(path)) as file:
        if (file.getframerate(), file.getnchannels(), file.getsampwidth()) != (16000, 1, 2):
            raise SystemExit(f"{path}: expected 16 kHz, mono, 16 bits")
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
    return (samples / 32768.0).astype(np.float32)


# --- the original packages ---------------------------------------------------------------------


def stub(name: str, **attributes: Any) -> None:
    """Register a module that has the given attributes, and inert ones for all other names."""
    module = types.ModuleType(name)
    module.__path__ = []
    module.__dict__.update(attributes)
    module.__getattr__ = lambda _: MagicMock()  # type: ignore[method-assign]
    register(name, module)


def register(name: str, module: types.ModuleType) -> None:
    """Make the module importable, in its parent's namespace too (for ``import a.b as c``)."""
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent in sys.modules:
        setattr(sys.modules[parent], child, module)


def provide_torchaudio() -> None:
    """Leave torchaudio as it is if it works; else keep its features, which are pure Python.

    Its compiled library is tied to one build of torch, and nothing here needs that library.
    """
    try:
        importlib.import_module("torchaudio")
    except (ImportError, OSError) as error:
        print(f"torchaudio does not load ({error}); using only its compliance/kaldi.py")
    else:
        return
    spec = importlib.util.find_spec("torchaudio")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("torchaudio is not installed; see the head of this file")
    folder = Path(spec.submodule_search_locations[0])
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchaudio"]:
        del sys.modules[name]
    for name in ("", ".transforms", ".functional", ".compliance"):
        stub(f"torchaudio{name}", __version__=importlib.metadata.version("torchaudio"))
    source = (folder / "compliance" / "kaldi.py").read_text("utf-8")
    load_source("torchaudio.compliance.kaldi", source)


def load_source(name: str, source: str) -> types.ModuleType:
    module = types.ModuleType(name)
    register(name, module)
    exec(compile(source, name, "exec"), module.__dict__)  # noqa: S102 - the originals, from a wheel
    return module


def original_campplus(wheel: Path) -> Any:
    """The class CAMPPlus, out of the wheel and without what ModelScope wraps around it."""
    stub("modelscope")
    stub("modelscope.models", TorchModel=object, MODELS=MagicMock())
    for name in ("metainfo", "utils", "utils.constant", "utils.device"):
        stub(f"modelscope.{name}")
    for name in ("models.audio", "models.audio.sv"):
        stub(f"modelscope.{name}")
    with zipfile.ZipFile(wheel) as files:
        for name in ("DTDNN_layers", "DTDNN"):
            source = files.read(f"modelscope/models/audio/sv/{name}.py").decode("utf-8")
            module = load_source(f"modelscope.models.audio.sv.{name}", source)
    return module.CAMPPlus


# --- weights -----------------------------------------------------------------------------------


def shapes_of(module: torch.nn.Module) -> Shapes:
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}


def load_seeded(module: torch.nn.Module) -> Arrays:
    """Give the module seeded weights; returns what a test needs to draw them again."""
    shapes = shapes_of(module)
    state = seeded_state(shapes, SEED)
    check_sinc(module.state_dict(), state)
    module.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    module.eval()
    return {
        "seed": np.array(SEED),
        "shapes": np.array(shapes_to_json(shapes)),
        "fingerprint": np.array(fingerprint(state)),
    }


def check_sinc(initial: Mapping[str, Any], state: Mapping[str, npt.NDArray[Any]]) -> None:
    """The seeded filterbank must be the one that the original starts from."""
    for name in state:
        if ".filterbank." in name and not np.allclose(initial[name], state[name], rtol=1e-5):
            raise SystemExit(f"{name} is not the original initialisation")


# --- one function per file ---------------------------------------------------------------------


def segmentation(checkpoint: Path, sample: npt.NDArray[np.float32]) -> Arrays:
    from pyannote.audio import Model  # noqa: PLC0415 - torchaudio may need its stand-in first

    model: Any = Model.from_pretrained(str(checkpoint))
    model.eval()
    inputs = {
        "sample_5s": sample[5 * SAMPLE_RATE_HZ :][:WINDOW],
        "sample_15s": sample[15 * SAMPLE_RATE_HZ :][:WINDOW],
        "synthetic": speechlike(WINDOW, SEED),
        "synthetic_short": speechlike(59200, SEED + 1),
        "silence": silence(WINDOW),
    }
    arrays = made_with("pyannote.audio", checkpoint="pyannote/segmentation-3.0")
    decode = powerset_class()(3, 2)
    for name, samples in inputs.items():
        log_probs = model(torch.from_numpy(samples.copy())[None, None])
        arrays[f"log_probs_{name}"] = log_probs.numpy()
        arrays[f"masks_{name}"] = decode(log_probs).numpy().astype(np.uint8)
    return arrays | tiny_segmentation()


def tiny_segmentation() -> Arrays:
    from pyannote.audio.core.task import (  # noqa: PLC0415
        Problem,
        Resolution,
        Specifications,
    )
    from pyannote.audio.models.segmentation import PyanNet  # noqa: PLC0415

    model: Any = PyanNet(
        lstm={"hidden_size": 16, "num_layers": 2}, linear={"hidden_size": 16, "num_layers": 2}
    )
    model.specifications = Specifications(
        problem=Problem.MONO_LABEL_CLASSIFICATION,
        resolution=Resolution.FRAME,
        duration=1.0,
        classes=["a", "b"],
        powerset_max_classes=2,
        permutation_invariant=True,
    )
    model.build()
    drawn = load_seeded(model)
    samples = np.stack([speechlike(SAMPLE_RATE_HZ, SEED), full_scale_noise(SAMPLE_RATE_HZ, SEED)])
    log_probs = model(torch.from_numpy(samples)[:, None])
    arrays = {
        **drawn,
        "log_probs": log_probs.numpy(),
        "masks": powerset_class()(2, 2)(log_probs).numpy().astype(np.uint8),
    }
    return {f"tiny_{name}": value for name, value in arrays.items()}


def kaldi_features(samples: npt.NDArray[np.float32]) -> torch.Tensor:
    """(1, T, 80) CAM++'s recipe, minus its mean over time."""
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.dither = 0.0
    options.frame_opts.window_type = "povey"
    options.frame_opts.samp_freq = SAMPLE_RATE_HZ
    options.frame_opts.snip_edges = True
    options.mel_opts.num_bins = 80
    fbank = kaldi_native_fbank.OnlineFbank(options)
    fbank.accept_waveform(SAMPLE_RATE_HZ, samples.tolist())
    fbank.input_finished()
    rows = np.stack([fbank.get_frame(index) for index in range(fbank.num_frames_ready)])
    return torch.from_numpy(rows - rows.mean(axis=0))[None]


def campplus(wheel: Path, checkpoint: Path, sample: npt.NDArray[np.float32]) -> Arrays:
    model = original_campplus(wheel)(feat_dim=80, embedding_size=192)
    version = f"CAMPPlus of {wheel.name}"
    arrays = made_with("kaldi-native-fbank", checkpoint=f"{version}, campplus_cn_en_common.pt")
    model.load_state_dict(torch.load(checkpoint, weights_only=True))
    model.eval()
    for num_samples in (24240, 48240, 160000):
        samples = sample[7 * SAMPLE_RATE_HZ :][:num_samples]
        arrays[f"embedding_{num_samples}"] = model(kaldi_features(samples)).numpy()
    arrays |= {f"seeded_{name}": value for name, value in load_seeded(model).items()}
    arrays["seeded_embedding"] = model(kaldi_features(speechlike(40000, SEED))).numpy()
    return arrays


def wespeaker() -> Arrays:
    from pyannote.audio.models.embedding import WeSpeakerResNet34  # noqa: PLC0415

    model: Any = WeSpeakerResNet34()
    arrays = made_with("pyannote.audio") | load_seeded(model)
    waveform = np.stack([speechlike(WINDOW, SEED), speechlike(WINDOW, SEED + 1)])
    rng = np.random.default_rng(SEED)
    masks = (rng.random((2, 3, 589)) < 0.4).astype(np.uint8)
    masks[0, 1], masks[1, 0], masks[1, 2] = 0, 1, 0
    masks[1, 2, 300:305] = 1  # wide enough to reach exactly one of the 125 frames
    soft = rng.random((2, 2, 589)).astype(np.float32)
    batch = torch.from_numpy(waveform)[:, None]
    return {
        **arrays,
        "masks": masks,
        "soft_weights": soft,
        "embeddings": model(batch).numpy(),
        "embeddings_masks": model(batch, torch.from_numpy(masks.astype(np.float32))).numpy(),
        "embeddings_soft": model(batch, torch.from_numpy(soft)).numpy(),
        "embeddings_7000": model(batch[..., :7000]).numpy(),
    }


def powerset_class() -> Any:
    from pyannote.audio.utils.powerset import Powerset  # noqa: PLC0415

    return Powerset


def powerset() -> Arrays:
    rng = np.random.default_rng(SEED)
    arrays = made_with("pyannote.audio")
    for speakers, at_once in POWERSETS:
        codec = powerset_class()(speakers, at_once)
        # Few distinct values, so that ties are frequent.
        scores = rng.integers(-6, 0, (2, 50, len(codec.mapping))).astype(np.float32)
        key = f"{speakers}_{at_once}"
        arrays[f"mapping_{key}"] = codec.mapping.numpy().astype(np.uint8)
        arrays[f"scores_{key}"] = scores.astype(np.int8)
        arrays[f"masks_{key}"] = codec(torch.from_numpy(scores)).numpy().astype(np.uint8)
    return arrays


if __name__ == "__main__":
    raise SystemExit(main())
