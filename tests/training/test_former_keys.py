"""Keys that were moved, and settings that must suit each other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from training.config import TrainingConfig, read_config
from training.errors import ConfigError

LOGISTIC = 'head = "logistic"\n'
LOW = "low_resolution_px = 54\n"
BALANCED = '[sampling]\nbalance = "label"\n'


def write(path: Path, network: str = "", augment: str = "", more: str = "") -> Path:
    text = path.read_text().replace("[network]\n", f'[network]\nsystem = "tiny"\n{network}')
    text = text.replace("[augment]\n", f"[augment]\n{augment}").partition("[fine_tune]")[0]
    path.write_text(text + more)
    return path


def test_read_config_names_the_new_key_of_the_side(tiny_config: Path) -> None:
    write(tiny_config, "side_px = 32\n")
    with pytest.raises(ConfigError, match=r"now `network\.backbone\.side_px`") as caught:
        read_config(tiny_config)
    assert caught.value.key == "network.side_px"


@pytest.mark.parametrize("side_px", [32, None])
def test_a_record_of_a_run_may_have_the_former_key(tiny_config: Path, side_px: int | None) -> None:
    record = read_config(write(tiny_config)).model_dump(mode="json")
    del record["network"]["backbone"]
    record["network"]["side_px"] = side_px
    read = TrainingConfig.model_validate_json(json.dumps(record))
    assert read.network.backbone.side_px == side_px
    assert read.network.input_side_px == (side_px or 64)


def test_a_record_of_a_run_is_read_as_it_was_written(tiny_config: Path) -> None:
    config = read_config(write(tiny_config, "backbone = {layers = ['conv1'], side_px = 32}\n"))
    assert TrainingConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("network", "augment", "more", "says"),
    [
        (LOGISTIC, "", BALANCED, "low_resolution_px must be above 0"),
        ("", LOW, BALANCED, r"needs network\.head = 'logistic' and a sampling\.balance"),
        (LOGISTIC, LOW, "", r"needs network\.head = 'logistic' and a sampling\.balance"),
        (LOGISTIC, LOW, BALANCED + "[gan]\nproportion = 0.5\n", r"gan\.proportion must be 0"),
    ],
)
def test_read_config_refuses_thumbnails_that_would_teach_the_resolution(
    tiny_config: Path, network: str, augment: str, more: str, says: str
) -> None:
    write(tiny_config, network, augment, more + '[supplements]\nthumbnails = "folder"\n')
    with pytest.raises(ConfigError, match=says):
        read_config(tiny_config)


@pytest.mark.parametrize(
    ("network", "says"),
    [
        ("texture_weight = 1.0\n", r"texture_weight needs network\.head = 'logistic'"),
        (LOGISTIC + "standardize = 0.1\n", "a logistic head always standardises"),
    ],
)
def test_read_config_refuses_a_head_that_ignores_a_setting(
    tiny_config: Path, network: str, says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        read_config(write(tiny_config, network))


def test_read_config_refuses_a_logistic_head_of_a_trained_backbone(tiny_config: Path) -> None:
    text = tiny_config.read_text().replace("[network]\n", f'[network]\nsystem = "tiny"\n{LOGISTIC}')
    tiny_config.write_text(text)
    with pytest.raises(ConfigError, match=r"network\.head must be 'dense'"):
        read_config(tiny_config)


def test_options_replace_the_supplements_of_the_file(tiny_config: Path) -> None:
    write(tiny_config, LOGISTIC + "texture_weight = 1.0\n", LOW, BALANCED)
    config = read_config(tiny_config, None, Path("thumbnails"), Path("table.csv"))
    assert config.supplements.thumbnails == "thumbnails"
    assert config.supplements.feature_table == "table.csv"


def test_options_are_ignored_where_nothing_asks_for_supplements(tiny_config: Path) -> None:
    config = read_config(write(tiny_config), None, Path("thumbnails"), Path("table.csv"))
    assert config == read_config(tiny_config)


def test_an_option_must_suit_the_file(tiny_config: Path) -> None:
    write(tiny_config, "", LOW, BALANCED)
    with pytest.raises(ConfigError, match=r"needs network\.head = 'logistic'"):
        read_config(tiny_config, None, Path("thumbnails"))
