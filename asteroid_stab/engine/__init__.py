"""Training steps: Asteroid's System with the step of this package, and its variants."""

from asteroid_stab.engine.multitask_system import MultiTaskSystem
from asteroid_stab.engine.pretext_system import PretextSystem
from asteroid_stab.engine.refinement_system import RefinementSystem
from asteroid_stab.engine.system import StabSystem
from asteroid_stab.engine.variable_system import VariableSourcesSystem

__all__ = [
    "MultiTaskSystem",
    "PretextSystem",
    "RefinementSystem",
    "StabSystem",
    "VariableSourcesSystem",
]
