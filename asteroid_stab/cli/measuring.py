"""How mixtures are measured on this machine: shares of its cores, and the metrics that are defined."""

from __future__ import annotations


def share_cores(n_cores: int, n_jobs: int | None, on_cpu: bool) -> tuple[int, int]:
    """Number of measuring processes and of the model's threads, together no more than the cores if possible.

    With more threads than cores, OpenMP's threads wait for each other: five times slower on two cores (measured).

    Args:
        n_cores: cores of this machine.
        n_jobs: processes that the user asked for; by default one for each core, or for half of the cores (at least
            two) if the model needs the others.
        on_cpu: whether the model runs on the CPU.

    Example:
        >>> share_cores(2, None, True), share_cores(16, None, True), share_cores(16, None, False)
        ((2, 1), (8, 8), (16, 1))
    """
    if n_jobs is None:
        n_jobs = min(n_cores, max(2, n_cores // 2)) if on_cpu else n_cores
    return n_jobs, max(1, n_cores - n_jobs)


def possible_metrics(metrics: tuple[str, ...], sample_rate: int, n_src: int) -> tuple[str, ...]:
    """Returns the metrics that are defined for these data, and prints which are not.

    Raises:
        StabError: the package of a metric is not installed.
    """
    from asteroid_stab.metrics.dnsmos import RATE, SCORES, check_dnsmos
    from asteroid_stab.metrics.separation_metrics import PESQ_MODES

    if "pesq" in metrics and sample_rate not in PESQ_MODES:
        print(f"PESQ is left out: it is defined at 8000 and 16000 Hz, these data are sampled at {sample_rate} Hz")
        metrics = tuple(metric for metric in metrics if metric != "pesq")
    if "sir" in metrics and n_src == 1:
        print("SIR is left out: it measures the other sources in an estimate, and these data have one source")
        metrics = tuple(metric for metric in metrics if metric != "sir")
    if asked := [metric for metric in metrics if metric in SCORES]:
        if sample_rate == RATE:
            check_dnsmos()
        else:
            print(f"DNSMOS is left out: it is defined at {RATE} Hz, these data are sampled at {sample_rate} Hz")
            metrics = tuple(metric for metric in metrics if metric not in asked)
    return metrics
