"""``asteroid-stab average RUN``: the average of the last or the best epochs' models as a model file."""

from __future__ import annotations

import argparse

from asteroid_stab.atomic import check_writable, making
from asteroid_stab.cli.arguments import add_trust, check_data_overrides, path, positive, take_trust

SUMMARY = "averages the models of a run's last or best epochs"


def main(argv: list[str]) -> int:
    """Averages the models, measures the score of the average on the validation set, and writes its file.

    Raises:
        StabError: the run kept too few models of its epochs, or had a pretext task; its data cannot be used; or another
            process makes the same file.
    """
    options = make_parser().parse_intermixed_args(argv)
    check_data_overrides(options.overrides)

    import logging

    from asteroid_stab.metrics.evaluation import check_model
    from asteroid_stab.models.files import save_model
    from asteroid_stab.run.averages import average_model, choose_epochs, judging_system, validation_score
    from asteroid_stab.run.epochs import shown_epoch
    from asteroid_stab.run.folder import RunFolder
    from asteroid_stab.separation.device import to_device
    from asteroid_stab.trust import trusted_names

    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    take_trust(options.trust)
    run = RunFolder(options.run, options.config_dir)
    check_writable(run.path, "the average is kept there")
    kind, n = ("last", options.last) if options.best is None else ("best", options.best)
    data = run.datamodule(options.overrides)
    trust = [*trusted_names(options.config_dir)]
    files = run.layout.epoch_models()
    last = choose_epochs(run, 1)
    system = judging_system(run, average_model({epoch: files[epoch] for epoch in last}, trust), data.corpus.tasks)
    check_model(system.model, data.corpus)
    epochs = choose_epochs(run, n, system.default_monitor if kind == "best" else None)
    file = run.layout.average(kind, n)
    with making(file, "wait for its end"):
        system.model = model = average_model({epoch: files[epoch] for epoch in epochs}, trust)
        to_device(model, options.device)
        score = validation_score(run, system, data, options.device)
        save_model(model, file, {"epochs": epochs, system.default_monitor: score})
    shown = ", ".join(str(shown_epoch(epoch)) for epoch in epochs)
    print(f"average of epochs {shown}: {system.default_monitor} = {score:.3f} on the validation set")
    print(f"written to {file}: asteroid-stab evaluate {run.path} --variant {kind}{n} measures it on whole mixtures")
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Makes the parser, without an import that takes long: shell completion asks it too."""
    parser = argparse.ArgumentParser(
        prog="asteroid-stab average",
        description="Averages the weights of several epochs' models, measures the score of the average as the training "
        "measures its validation, and writes it beside them. The run must have kept its models "
        "(callbacks=[tracker,epoch_models]). evaluate and separate take the average as --variant last10 or best5.",
    )
    parser.add_argument("run", type=path, metavar="RUN", help="run folder, as written by asteroid-stab train")
    parser.add_argument("overrides", nargs="*", metavar="data.KEY=VALUE", help="changes to the run's data")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--last", type=positive, metavar="N", help="the last N epochs that were kept")
    which.add_argument("--best", type=positive, metavar="N", help="the N epochs that were kept with the best score")
    parser.add_argument("--device", default="cpu", help="where the model runs: cpu, cuda, ... (%(default)s)")
    add_trust(parser)
    return parser
