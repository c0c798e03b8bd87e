"""A run folder, opened again by a verb."""

from omegaconf import OmegaConf
from runs import SMALL

from asteroid_stab.run.compose import compose_recipe
from asteroid_stab.run.folder import RunFolder
from asteroid_stab.run.layout import RunLayout


def test_a_run_of_a_larger_machine_can_be_evaluated_here(tmp_path):
    """Its loader's processes are of the training alone."""
    config = compose_recipe("baseline/toy", [*SMALL, f"run_dir={tmp_path}", "loader.num_workers=4000"])
    OmegaConf.save(config, RunLayout(tmp_path).config)
    data = RunFolder(tmp_path).datamodule()
    assert (data.num_workers, data.batch_size) == (0, 8)
