"""The hub, by a stand-in on loopback: names, files, cache, and errors in one line."""

import pytest
from hub_stand_in import TOKEN, hub_stand_in
from shared_runs import CONV

from asteroid_stab.cli.arguments import size
from asteroid_stab.errors import StabError
from asteroid_stab.models import conv_tasnet, load_model, load_pretrained, save_model
from asteroid_stab.sharing.hub import (
    MAX_BYTES,
    MAX_SIZE,
    hub_errors,
    is_hub_name,
    local_model,
    parse_name,
    send_folder,
)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    constants = pytest.importorskip("huggingface_hub.constants")
    with hub_stand_in() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # the stand-in takes large files by LFS
        yield hub


@pytest.fixture
def model_bytes(tmp_path):
    save_model(conv_tasnet(2, **CONV), tmp_path / "model.pth")
    return (tmp_path / "model.pth").read_bytes()


@pytest.mark.parametrize("text", ["ann", "ann/", "/a", "a/b/c", "hf://a/b@", "a b/c", "hf://../b", ""])
def test_other_words_are_no_names(text):
    with pytest.raises(StabError, match="a model on the hub is named user/name"):
        parse_name(text)


def test_names_have_one_revision():
    assert parse_name("a/b", "v1") == ("a/b", "v1")
    assert parse_name("hf://a/b@x") == ("a/b", "x")
    with pytest.raises(StabError, match="one revision may be given, got 'x' in the name and 'y'"):
        parse_name("a/b@x", "y")
    with pytest.raises(StabError, match="--revision must be a branch, a tag or a commit, got ''"):
        parse_name("a/b", "")
    assert [is_hub_name(one) for one in ("hf://a/b", "a/b", None)] == [True, False, False]


def test_a_model_is_fetched_once_and_taken_from_the_cache_without_network(hub, model_bytes, monkeypatch):
    from huggingface_hub import constants

    old = hub.put("ann/a", {"best_model.pth": b"old", "secret.py": b"import os"})
    hub.put("ann/a", {"best_model.pth": model_bytes})
    folder = local_model("hf://ann/a")
    assert load_model(folder).sample_rate == 8000
    assert sorted(file.name for file in folder.iterdir()) == ["best_model.pth"]
    assert (local_model(f"hf://ann/a@{old}") / "best_model.pth").read_bytes() == b"old"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    n_calls = len(hub.calls)
    assert load_model(local_model("hf://ann/a")).sample_rate == 8000
    assert len(hub.calls) == n_calls
    with pytest.raises(StabError, match=r"ann/b: no way to the hub at http.*, and the cache has no whole copy"):
        local_model("hf://ann/b")


def test_a_large_model_is_fetched_on_demand_only(hub, model_bytes, monkeypatch):
    """Each way to a model by its name has the limit; what the cache has already is not fetched."""
    files = {"best_model.pth": model_bytes, "other.iso": bytes(10**6)}
    hub.put("ann/a", files)
    monkeypatch.setattr("asteroid_stab.sharing.hub.MAX_BYTES", len(model_bytes) - 1)
    with pytest.raises(
        StabError, match=r"ann/a has .*B, more than the .*B that hf:// fetches: 'asteroid-stab pull ann/a@main --max-"
    ):
        load_pretrained(conv_tasnet(2, **CONV), "hf://ann/a@main")
    assert not any(call.startswith("GET") and "best_model.pth" in call for call in hub.calls)
    monkeypatch.setattr("asteroid_stab.sharing.hub.MAX_BYTES", len(model_bytes))
    folder = local_model("hf://ann/a")
    monkeypatch.setattr("asteroid_stab.sharing.hub.MAX_BYTES", 0)
    assert local_model("hf://ann/a") == folder


def test_the_limit_is_the_one_that_pull_shows():
    assert size(MAX_SIZE) == MAX_BYTES


def test_a_model_of_plain_asteroid_is_taken(hub, model_bytes):
    hub.put("ann/a", {"pytorch_model.bin": model_bytes})
    assert load_model(local_model("hf://ann/a")).sample_rate == 8000


def test_weights_of_the_hub_start_a_training(hub, model_bytes, tmp_path):
    hub.put("ann/a", {"best_model.pth": model_bytes})
    model = conv_tasnet(2, **CONV)
    load_pretrained(model, "hf://ann/a")
    expected = load_model(tmp_path / "model.pth").state_dict()
    assert all((value == expected[name]).all() for name, value in model.state_dict().items())


def test_a_recipe_keeps_the_name_of_the_hub():
    from asteroid_stab.run.compose import compose_recipe

    name = "hf://ann/a@v1"
    assert compose_recipe("baseline/toy", [f"init.path={name}"]).init.path == name


def test_what_the_hub_lacks_is_named(hub):
    with pytest.raises(StabError, match=r"has no model 'ann/none', or it is private: 'hf auth login' logs in"):
        local_model("hf://ann/none")
    hub.put("ann/a", {"notes.txt": b"x"})
    with pytest.raises(StabError, match="ann/a on the hub has neither best_model.pth nor pytorch_model.bin, or"):
        local_model("hf://ann/a")
    with pytest.raises(StabError, match="ann/a has no such revision"):
        local_model("hf://ann/a@v9")


def test_a_folder_is_sent_as_one_commit(hub, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# a\n")
    (folder / "best_model.pth").write_bytes(b"weights" * 1000)
    address = send_folder(parse_name("ann/new"), folder, True, "A model")
    assert address.startswith(f"{hub.address}/ann/new/commit/")
    assert hub.visibility == {"ann/new": "private"}
    assert hub.at("ann/new", "main")[1]["best_model.pth"] == b"weights" * 1000
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# b\n")
    send_folder(parse_name("ann/new"), folder, False, "Again")
    assert b"# b" in hub.at("ann/new", "main")[1]["README.md"]
    assert sum(call.startswith("POST /api/models/ann/new/commit/") for call in hub.calls) == 2


def test_a_stranger_may_not_send(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_of_nobody")
    (tmp_path / "README.md").write_text("# a\n")
    with pytest.raises(StabError, match="refuses ann/new: .*: 'hf auth login' with a token that may write"):
        send_folder(parse_name("ann/new"), tmp_path, False, "A model")
    assert hub.commits == {}


def test_no_way_to_the_hub_is_one_line(hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(StabError, match=r"ann/a: no way to the hub at http://127.0.0.1:9") as caught:
        local_model("hf://ann/a")
    assert "\n" not in str(caught.value)


def response(status):
    import httpx2

    return httpx2.Response(status, request=httpx2.Request("GET", "http://127.0.0.1:9/x"))


def test_every_error_of_the_library_is_put_into_words():
    errors = pytest.importorskip("huggingface_hub.errors")
    cases = [
        (errors.GatedRepoError("x", response=response(403)), "a/b asks its users to accept terms"),
        (ValueError("odd"), "a/b: ValueError: odd"),
        (ConnectionResetError("cut"), r"a/b: no way to the hub at .* \(ConnectionResetError: cut\)"),
        (StabError("ours"), "ours"),
    ]
    for error, message in cases:
        with pytest.raises(StabError, match=message), hub_errors("a/b"):
            raise error
    with pytest.raises(PermissionError), hub_errors("a/b"):
        raise PermissionError(13, "no right")
