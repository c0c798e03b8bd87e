"""A config without the places of one machine."""

from asteroid_stab.sharing.plain_config import has_place, without_places

PLACE = "/" + "srv/somebody"


def test_paths_are_emptied_and_named_and_all_else_stays():
    config = {
        "recipe": "dsd_lo/toy",
        "run_dir": "runs/a",
        "data": {"_target_": "a.B", "root": "corpora", "parts": [{"root": PLACE}, {"n": 3}]},
        "callbacks": {"stop": {"monitor": "val/si_sdr", "folder": PLACE}},
        "init": {"path": "hf://ann/a", "new_output": True},
        "lr": 1e-3,
        "empty": "",
    }
    plain, emptied = without_places(config)
    assert emptied == ["run_dir", "data.root", "data.parts.root", "callbacks.stop.folder", "init.path"]
    assert plain["callbacks"] == {"stop": {"monitor": "val/si_sdr", "folder": None}}
    assert plain["data"] == {"_target_": "a.B", "root": None, "parts": [{"root": None}, {"n": 3}]}
    assert (plain["recipe"], plain["lr"], plain["empty"]) == ("dsd_lo/toy", 1e-3, "")


def test_places_are_found_within_texts():
    assert all(map(has_place, ["~", f"x={PLACE}", f"[{PLACE}]", "../a", "a/../b", "C:/x", r"\\server\x", "http://x/y"]))
    assert not any(map(has_place, ["a/b", "1/2", "speech, 8 kHz", "a..b", "hf://ann/a"]))
