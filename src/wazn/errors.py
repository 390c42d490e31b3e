"""Every error a user can cause, in one tree.

WaznError
├── ModelNotFound        no such alias, path, package or repository
├── UnsupportedModel     a family, number format or tokenizer that this version cannot run
├── UnsupportedMachine   the CPU or the build lacks what the native core needs
├── BadFile              a weights, tokenizer or configuration file breaks its own format
│   └── MissingTensor    a tensor that the model's family needs is not there
├── FetchError           a download failed: network, access, hash
├── StorageError         a disk is full, or a folder cannot be written
├── BadObservation       a number, fact or definition of the observatory that breaks its rules
├── BadTemplate          a chat template failed, or went over its limits
├── BadRequest           a parameter or prompt that cannot be honoured
│   └── DoesNotFit       prompt and answer exceed the context or the memory
└── EngineFailed         the engine stopped while the request was running

A message is a fact, the value that broke it, and what to do about it.
"""


class WaznError(Exception):
    """Base of all errors that are shown to users as one plain sentence."""


class ModelNotFound(WaznError):
    """A model reference names nothing that can be found."""


class UnsupportedModel(WaznError):
    """The model exists, but this version of wazn cannot run it."""


class UnsupportedMachine(WaznError):
    """The CPU or the installation lacks what the native core needs."""


class BadFile(WaznError):
    """A file breaks its format; the message names the file and the field."""


class MissingTensor(BadFile):
    """The model lacks ``tensor``."""

    def __init__(self, tensor: str) -> None:
        super().__init__(f"the model has no tensor {tensor}; it is incomplete or of another family")
        self.tensor = tensor


class FetchError(WaznError):
    """A download failed."""


class StorageError(WaznError):
    """A disk is full or a folder is not writable."""


class BadObservation(WaznError):
    """A number, a published fact or a definition of the observatory that breaks its rules."""


class BadTemplate(WaznError):
    """A chat template raised an error or went over its limits."""


class BadRequest(WaznError):
    """A request that cannot be honoured as it stands."""


class DoesNotFit(BadRequest):
    """Prompt and answer do not fit the context or the memory; the message has the numbers."""


class EngineFailed(WaznError):
    """The engine stopped while the request was running."""
