"""The command line: ``lightning fit|validate|test|predict -c benchmarks/<system>.yaml``."""

import sys
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from jsonargparse import Namespace
from lightning import Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import Tensor

from benchmarks import runs
from benchmarks.evaluation.callbacks import Evaluator, PredictionWriter
from benchmarks.parsing import OneSentenceParser
from benchmarks.running import keys
from benchmarks.running.carried import with_carried
from benchmarks.running.processes import holding, is_first, spread
from benchmarks.running.resuming import Resumptions, StepSeeds, WrittenAside, settings
from datamodules.base import PortraitDataModule
from models.base import OF_A_FIT, VERSION, PortraitModule, read_checkpoint
from models.errors import UserError, constructing, stoppable
from models.files import make, room

Part = TypeVar("Part", PortraitModule, PortraitDataModule)
SEED = "--seed_everything="
DEFAULTS = {"default_config_files": [str(Path(__file__).with_name("defaults.yaml"))]}


class BenchmarkCLI(LightningCLI):
    """LightningCLI in which every call is a run: it has a key, a folder, and needs (`benchmarks.runs`)."""

    arguments: list[str]
    run_: runs.Run

    def setup_parser(self, *options: Any) -> None:  # noqa: ANN401 - Lightning's own
        """Takes the parsers that this process has built, or the one that it was forked from."""
        built = _parsers()
        self.parser, self._subcommand_parsers = built.parser, built._subcommand_parsers
        self._subcommand_method_arguments = built._subcommand_method_arguments

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds the data -> model link, the needs of a run and its checkpoint callback."""
        parser.link_arguments("data.init_args.image_size", "model.init_args.image_size")
        parser.add_argument(
            "--needs",
            type=dict[str, dict[str, list[str]]],
            default={},
            help="Fits that this one takes weights from: the name of the submodule, and the config files of its fit. "
            "These say how long it lasts: of this call it takes seed, results, devices, data, not trainer.max_steps.",
        )
        parser.add_argument("--results", type=str, default="results/runs", help="The folder that holds the runs.")
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Keeps the arguments, which are the run's line, and parses them by their subcommand alone.

        Lightning's parser of all subcommands looks at everything twice; it is left the call for help, mistakes, and
        the printing of a configuration, which the parser of a subcommand leaves to it.
        """
        self.arguments = list(args) if isinstance(args, list) else sys.argv[1:]
        kind, *rest = self.arguments or [""]
        if kind in self._subcommand_parsers and not any(each.startswith("--print_config") for each in rest):
            parsed = self._subcommand_parsers[kind].parse_args(with_carried(rest))
            self.config = Namespace({"subcommand": kind, kind: parsed})
        else:
            self.config = parser.parse_args(self.arguments)

    def _parse_ckpt_path(self) -> None:
        """Leaves the configuration alone: Lightning would let a checkpoint's hyperparameters beat the command line."""

    def before_instantiate_classes(self) -> None:
        """Names the run, meets its needs, and writes its configuration into its folder."""
        assert self.subcommand is not None
        config = self.config[self.subcommand]
        self.run_ = runs.Run.of(self.subcommand, config, parse, tuple(self.arguments[1:]))
        make(self.run_.folder)
        config.checkpoint.dirpath = str(self.run_.needs.get("checkpoint", self.run_).folder)
        config.trainer.default_root_dir = str(self.run_.folder)
        if self.subcommand == "fit":
            if given := config.ckpt_path:  # before anything is fitted for it
                read_checkpoint(given, "name another one, or leave out --ckpt_path to fit anew.", OF_A_FIT)
            for name, need in self.run_.needs.items():
                runs.meet(need, name)
        elif path := config.ckpt_path or runs.checkpoint_for(self.run_):
            read_checkpoint(path, "fit anew, or name another with --ckpt_path.", [VERSION])
            config.ckpt_path = path
        if is_first():
            file = self.run_.folder / f"{self.subcommand}.yaml"
            self.parser.save(self.config, file, overwrite=True, skip_validation=True)

    def _set_seed(self) -> None:
        keys.check_seed(self.config[str(self.subcommand)].seed_everything)
        super()._set_seed()

    def instantiate_classes(self) -> None:
        """Builds data, model and trainer."""
        with constructing():
            super().instantiate_classes()

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> Trainer:
        """Builds the trainer with the run's own callbacks and, unless the YAML names a logger, its CSV log."""
        if self.subcommand == "fit":
            self.resumptions = Resumptions()
            callbacks = [*callbacks, StepSeeds(self.config.fit.seed_everything), self.resumptions]
            config["plugins"] = [*(config.get("plugins") or []), WrittenAside()]
        if self.subcommand == "test":
            callbacks = [*callbacks, Evaluator(self.run_)]
        if self.subcommand == "predict":
            callbacks = [*callbacks, PredictionWriter(self.run_.folder / "predictions")]
        if config.get("logger") in (None, True):
            # Lightning empties the folder of a log that it opens again; a resumed fit therefore gets a new one.
            part = len(list((self.run_.folder / "log").glob(f"{self.subcommand}_*")))
            config["logger"] = CSVLogger(self.run_.folder, name="log", version=f"{self.subcommand}_{part}")
        if config.get("enable_progress_bar") is None:
            config["enable_progress_bar"] = sys.stdout.isatty()  # a log file holds no bars
        asked = self.config[str(self.subcommand)]
        config = spread(config, keys.device(asked.trainer), self.model, self.datamodule.batch_size)
        return super()._instantiate_trainer(config, callbacks)

    def _run_subcommand(self, subcommand: str) -> None:
        """Runs while holding the run's folder; a second call of the same run waits, and finds it done."""
        with holding(self.run_.folder):
            super()._run_subcommand(subcommand)

    def fit(self, **kwargs: Any) -> None:  # noqa: ANN401 - Trainer.fit's own arguments
        """Fits, from the last checkpoint where there is one, and records the run when it is complete."""
        if self._is_done("Delete the folder to fit anew, or change the seed."):
            return
        for name, need in self.run_.needs.items():
            self.model.receive(name, _part_of(need, name))
        if (path := self._starts_from(kwargs.get("ckpt_path"))) and is_first():
            print(f"This fit goes on from {path}.")
        self.trainer.fit(**kwargs | {"ckpt_path": path, "weights_only": True})
        if path and not self.run_.checkpoint.is_file() and not self.resumptions.trained:
            raise UserError(f"Nothing is left to fit: '{path}' has as many epochs as are asked for; raise max_epochs.")
        if not self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            self._check_trained()
            self._record()

    def _starts_from(self, given: str | None) -> str | None:
        """The checkpoint of this very fit, if it was cut off, else the one that the call names, if it does."""
        if self.run_.checkpoint.is_file():
            remedy = "delete it, to fit anew from the start, or put a copy of it back; then run the same command again."
            read_checkpoint(self.run_.checkpoint, remedy, OF_A_FIT)
            return str(self.run_.checkpoint)
        return given

    def predict(self, **kwargs: Any) -> None:  # noqa: ANN401 - Trainer.predict's own arguments
        """Predicts, and keeps nothing that is written already."""
        self.trainer.predict(**kwargs | {"return_predictions": False})

    def test(self, **kwargs: Any) -> None:  # noqa: ANN401 - Trainer.test's own arguments
        """Tests, unless that is done: what lies under a record stays what it was made of."""
        if not self._is_done("Delete the folder to test anew."):
            self.trainer.test(**kwargs)

    def _is_done(self, remedy: str) -> bool:
        if self.run_.is_done and is_first():
            print(f"This {self.run_.kind} is done: {self.run_.folder}. {remedy}")
        return self.run_.is_done

    def _check_trained(self) -> None:
        if self.trainer.max_epochs != 0 and not self._ran()["batches"]:
            raise UserError(
                "This fit has made no step, so it is not recorded: raise trainer.limit_train_batches or max_steps, or "
                "set trainer.max_epochs to 0 if none is wanted."
            )

    def _record(self) -> None:
        """Leaves the checkpoint and, last, the record that says the fit is done."""
        self.trainer.save_checkpoint(self.run_.checkpoint, weights_only=False)
        if self.trainer.is_global_zero:
            notes = {"line": self.run_.line, "notes": self.model.notes()}
            runs.write_json(self.run_.record_file, notes | self._ran() | runs.provenance())
            print(f"This fit is done; its checkpoint is {self.run_.checkpoint}")

    def _ran(self) -> dict[str, object]:
        """What the trainer did, which need not be what was asked of it."""
        trainer, given = self.trainer, self.config.fit.ckpt_path
        ran = {
            "epochs": trainer.current_epoch,
            "batches": trainer.fit_loop.epoch_loop.batch_progress.state_dict()["total"]["processed"],
            "optimiser_steps": trainer.global_step,
            "optimisers": settings(trainer.optimizers),
            "resumed_at_epochs": self.resumptions.epochs,
            "processes": trainer.world_size,
            "accelerator": trainer.strategy.root_device.type,
            "precision": trainer.precision,
        }
        return ran | ({"started_from": f"{given}, sha256 {keys.file_digest(Path(given))}"} if given else {})


class _Parsers(BenchmarkCLI):
    """Builds the parsers, and nothing else."""

    setup_parser = LightningCLI.setup_parser

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        self.config = Namespace(subcommand=None)

    def before_instantiate_classes(self) -> None: ...

    def instantiate_classes(self) -> None: ...

    def _set_seed(self) -> None: ...


def _part_of(need: runs.Run, name: str) -> dict[str, Tensor]:
    """The weights of the submodule of that name in a needed fit's checkpoint."""
    weights = read_checkpoint(need.checkpoint, f"delete the folder {need.folder}, and run the same command again.")
    found = weights["state_dict"]
    return {k.removeprefix(f"{name}."): v for k, v in found.items() if k.startswith(f"{name}.")}


def _cli(cls: type[BenchmarkCLI], args: list[str] | None = None) -> BenchmarkCLI:
    return cls(
        PortraitModule,
        PortraitDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        auto_configure_optimizers=False,
        load_from_checkpoint_support=False,  # a checkpoint holds weights; its configuration lies beside it
        seed_everything_default=0,
        save_config_callback=None,
        parser_class=OneSentenceParser,
        parser_kwargs={name: dict(DEFAULTS) for name in cls.subcommands()},
        args=args,
    )


@cache
def _parsers() -> BenchmarkCLI:
    """What holds the parser of each subcommand, built once a process."""
    return _cli(_Parsers)


def parse(args: list[str]) -> Namespace:
    """The configuration that a call would run with; builds no model.

    A call that differs from an earlier one in the seed alone is not parsed again: 0.2 s each, of a thousand or more.

    Args:
        args: What follows ``lightning``, the subcommand first.
    """
    last = max((place for place, argument in enumerate(args) if argument.startswith((SEED, *keys.FLAGS))), default=0)
    seed = args[last].removeprefix(SEED)
    if not seed.isdigit():  # none, or a file after it has the last word
        return _parsed(tuple(args))
    config = _parsed((*args[:last], f"{SEED}0", *args[last + 1 :])).clone()
    config.seed_everything = int(seed)
    return config


@cache
def _parsed(args: tuple[str, ...]) -> Namespace:
    return _parsers()._subcommand_parsers[args[0]].parse_args(with_carried(args[1:]))


def data_module(config: Namespace) -> PortraitDataModule:
    """Builds the data module of a parsed configuration alone: its part ``data``."""
    return _made(PortraitDataModule, config)


def model_of(config: Namespace) -> PortraitModule:
    """Builds the model of a parsed configuration alone, with random weights: its part ``model``."""
    return _made(PortraitModule, config)


def fitted(config: Namespace, checkpoint: Path) -> PortraitModule:
    """Builds the model of a parsed configuration with a checkpoint's weights, for use.

    Args:
        config: The part ``model``.
        checkpoint: The file.

    Raises:
        UserError: If the file is missing or damaged, or of another model.
    """
    model, saved = model_of(config), read_checkpoint(checkpoint, "name another one, or fit anew.")
    model.on_load_checkpoint(saved)
    model.load_state_dict(saved["state_dict"])
    return model.eval()


def _made(base: type[Part], config: Namespace) -> Part:
    parser = LightningArgumentParser()
    parser.add_subclass_arguments(base, "part", required=True)
    with constructing():
        made = parser.instantiate(parser.parse_object({"part": config.as_dict()})).part
    assert isinstance(made, base)
    return made


def build(args: list[str] | None = None) -> BenchmarkCLI:
    """Parses the arguments (of the process, unless given) and runs the subcommand that they name.

    Raises:
        UserError: For a mistake that the user can mend.
    """
    return _cli(BenchmarkCLI, args)


def main() -> None:
    """The console script; returns None so that the exit status of a finished run is 0."""
    runs.commit_of_the_code()  # of what is loaded now, before anybody checks another commit out
    try:
        with stoppable(), room():  # of the run, whose folder is known only in it
            build()
    except UserError as error:
        sys.exit(f"error: {error}")
    except MisconfigurationException as error:  # what Lightning cannot do together
        sys.exit(f"error: {' '.join(str(error).split())}")


if __name__ == "__main__":
    main()
