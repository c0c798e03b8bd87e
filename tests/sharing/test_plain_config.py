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


def test_secrets_and_keys_with_a_path_are_left_out():
    config = {
        "logger": {"api_key": "x", "auth-token": "y", "password": None, "offline": True},
        "n_tokens": 5,
        "monkey": "z",
        "shares": {PLACE: 0.5, "other": 0.25},
    }
    plain, emptied = without_places(config)
    assert emptied == ["logger.api_key", "logger.auth-token", "shares"]
    assert plain["logger"] == {"api_key": None, "auth-token": None, "password": None, "offline": True}
    assert (plain["n_tokens"], plain["monkey"], plain["shares"]) == (5, "z", {"other": 0.25})


def test_places_are_found_within_texts():
    places = ["~", f"x={PLACE}", f"[{PLACE}]", "../a", "a/../b", "C:/x", r"\\server\x", "http://x/y", r"a\..\b"]
    places += [f"{sign}{PLACE}" for sign in ";|<>@&{`"] + [f"hf://ann/a and {PLACE}", f"hf://{PLACE}"]
    assert all(map(has_place, places))
    assert not any(map(has_place, ["a/b", "1/2", "speech, 8 kHz", "a..b", "hf://ann/a", "hf://ann/a@v1.0"]))
