from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.conftest import REPOSITORY
from training.config import CONFIGS_DIR, RELEASED_CONFIG, TrainingConfig, read_config
from training.errors import ConfigError

MODELS = REPOSITORY / "models" / RELEASED_CONFIG.stem
RUN_CONFIGS = sorted(set(CONFIGS_DIR.glob("*.toml")) - {CONFIGS_DIR / "study.toml"})


@pytest.mark.parametrize("path", RUN_CONFIGS, ids=lambda path: path.stem)
def test_read_config_reads_every_shipped_file(path: Path) -> None:
    config = read_config(path)
    assert config.model_name == path.stem
    first_line = path.read_text().splitlines()[0]
    assert first_line.startswith(("# make", "# osteo-train")), "the command comes first"
    assert "# Expect" in path.read_text()


def test_released_config_learns_from_earlier_layers_and_texture() -> None:
    network = read_config(RELEASED_CONFIG).network
    assert network.head == "logistic"
    assert network.texture_weight == 3.0
    assert "last" not in network.backbone.layers


def test_read_config_keeps_the_papers_network() -> None:
    config = read_config(CONFIGS_DIR / "paper-mobilenetv2.toml")
    assert config.network.hidden_units == 100
    assert config.head.batch_size == 32
    assert config.augment.n_views > 0
    assert config.augment.horizontal_flip


def test_read_config_lets_a_weights_argument_win(tiny_config: Path) -> None:
    assert read_config(tiny_config).network.weights == "none"
    assert read_config(tiny_config, "imagenet").network.weights == "imagenet"


@pytest.mark.parametrize(
    ("change", "key", "says"),
    [
        ('model_name = "drawn"|', "model_name", "required"),
        ("epochs = 2|", "head.epochs", "required"),
        ("epochs = 2|epoches = 2", "head.epoches", "misspelt"),
        ("seed = 1|seeds = 1", "seeds", "misspelt"),
        ("n_views = 1|n_views = -1", "augment.n_views", "greater than or equal to 0"),
        ('[network]|[network]\nwidth = "1.0"', "network.width", "misspelt"),
    ],
)
def test_read_config_names_the_key(tiny_config: Path, change: str, key: str, says: str) -> None:
    old, new = change.split("|")
    text = tiny_config.read_text()
    assert old in text
    tiny_config.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError, match=says) as caught:
        read_config(tiny_config)
    assert caught.value.key == key


@pytest.mark.parametrize(
    ("section", "line", "title"),
    [
        ("augment", "smallest_crop = 0.75", "crops of the full tile"),
        ("network", "case_directions = 2", "removing case directions"),
        ("network", "n_heads = 1", "averaging several heads"),
        ("head", "mixup = 0.2", "mixup"),
        ("head", "tumor_weight = 2.0", "the hierarchical loss"),
        ("fine_tune", "mix_style = 0.1", "MixStyle"),
    ],
)
def test_read_config_refuses_a_removed_switch(
    tiny_config: Path, section: str, line: str, title: str
) -> None:
    tiny_config.write_text(tiny_config.read_text().replace(f"[{section}]", f"[{section}]\n{line}"))
    with pytest.raises(ConfigError, match=rf"\({title}\) was removed.*docs/recipe\.md") as caught:
        read_config(tiny_config)
    assert caught.value.key == f"{section}.{line.partition(' ')[0]}"


@pytest.mark.parametrize("version", ["1", "2", "3", "4"])
def test_training_config_reads_the_record_of_a_released_bundle(version: str) -> None:
    """Records of version 2 and 3 name removed switches, all of them switched off."""
    manifest = json.loads((MODELS / version / "manifest.json").read_text())
    record = manifest["training"]
    config = TrainingConfig.model_validate_json(json.dumps(record))
    assert config.head.epochs == record["head"]["epochs"]
    record["head"]["mixup"] = 0.2
    with pytest.raises(ValidationError, match="was removed"):
        TrainingConfig.model_validate_json(json.dumps(record))


def test_read_config_explains_what_is_not_toml_or_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_config(tmp_path / "a.toml")
    (tmp_path / "a.toml").write_text("seed =")
    with pytest.raises(ConfigError, match="not valid TOML"):
        read_config(tmp_path / "a.toml")
