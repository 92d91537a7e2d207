"""Training: one loop for every recipe.

A recipe is a `TrainingTask` (model and loss), two loaders and a `TrainConfig`; `fit` does the rest.
"""

from zoo.train.fit import Result, fit
from zoo.train.optim import Group, Precision, Schedule, TrainConfig
from zoo.train.task import Output, TrainingTask

__all__ = ["Group", "Output", "Precision", "Result", "Schedule", "TrainConfig", "TrainingTask", "fit"]
