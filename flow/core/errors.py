"""The one error family. A message says what happened, where, and what to do about it."""


class FlowError(Exception):
    """Anything that the flow can explain to a person.

    Attributes:
        transient: the same stage may succeed when it is simply run again, so the failure is not stored.
        usage: caused by what the user gave or has installed; the command line answers with exit code 2.
    """

    transient = False
    usage = False


class ConfigError(FlowError):
    """A design point or study is wrong; the message lists every mistake."""

    transient = usage = True


class UnknownPlugin(ConfigError):
    """No model, regularizer, metric, perturbation or back end has this id."""


class MissingInput(FlowError):
    """A file the flow was told to read is not there."""

    transient = usage = True


class InvalidInput(FlowError):
    """A data or ONNX file is there but cannot be used."""

    transient = usage = True


class ToolNotFound(FlowError):
    """A program is not installed; the message has the install hint."""

    transient = usage = True


class ToolVersionMismatch(FlowError):
    """A program is installed in a version that is known not to work."""

    transient = usage = True


class ToolTimeout(FlowError):
    """A program ran past its time limit and its process tree was killed."""

    transient = True


class ToolOutOfMemory(FlowError):
    """A program needed more memory than its limit and its process tree was killed."""

    transient = True


class LicenceUnavailable(FlowError):
    """A vendor tool could not get a licence."""

    transient = True


class ToolFailed(FlowError):
    """A program ended with a non-zero exit code; the message has its last lines."""


class DoesNotFit(FlowError):
    """A design needs more than the part has, in cells, in wires or in time."""


class TooLarge(FlowError):
    """A design is too large for a step that would take days; it was not begun. A limit may be raised, so it is not remembered."""

    transient = True


class MismatchError(FlowError):
    """The exactness gate saw two levels that differ."""


class NotTrained(FlowError):
    """A network is no better than a trivial predictor, so nothing about it may be ranked."""


class Undeclared(FlowError):
    """A stage touched an input, setting, output or metric that it did not declare."""


class StoreError(FlowError):
    """The store cannot be written, for example because the disk is full."""

    transient = usage = True
