"""The kernel's part of the policy."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from deploys.core.policy import Rules
from deploys.kernel import boot_parameters as kernel_boot
from deploys.kernel import sysctls as kernel_sysctls
from deploys.kernel.window import Window


def _known_key(key: str) -> str:
    if key in kernel_sysctls.RESOLVED:
        raise ValueError(f"is not set here: {kernel_sysctls.RESOLVED[key]}")
    if key not in kernel_sysctls.BY_KEY:
        raise ValueError(f"nothing is known of this sysctl{_nearest(key, kernel_sysctls.BY_KEY)}")
    return key


def _known_word(word: str) -> str:
    if word not in kernel_boot.WORDS:
        raise ValueError(f"nothing is known of {word}{_nearest(word, kernel_boot.WORDS)}")
    return word


def _nearest(word: str, known: Any) -> str:
    close = get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


Key = Annotated[str, AfterValidator(_known_key)]
Text = Annotated[str, StringConstraints(pattern=r"^[ -~]+$")]
Word = Annotated[str, AfterValidator(_known_word)]


def _window(text: str) -> str:
    Window.parse(text)
    return text


class Drain(Rules):
    """Commands (sh) that a host runs around a reboot."""

    before: str | None = Field(
        None,
        description="Run before the reboot; if it fails or takes over 15 minutes, `after` runs and nothing reboots.",
    )
    after: str | None = Field(None, description="Run when the host is up again, whichever kernel it came up with.")


class KernelRules(Rules):
    """Kernel self-protection, resolved against what containers need."""

    sysctls: dict[Key, int | Text | None] | None = Field(
        None,
        description="Values by sysctl; a stricter value on the host is left alone; null takes a key out again.",
        json_schema_extra={"propertyNames": {"enum": [*sorted(kernel_sysctls.BY_KEY)]}},
    )
    boot_parameters: list[Word] | None = Field(
        None,
        description="Words that the kernel's command line must have.",
        json_schema_extra={"items": {"enum": [*kernel_boot.WORDS]}},
    )
    forwarding: Literal[True] | None = Field(
        None, description="IPv4 forwarding stays on where Docker's bridges need it, whatever a benchmark wrote."
    )
    overlay: Literal[True] | None = Field(
        None, description="The overlay module is not kept from loading where Docker stores layers with it."
    )
    user_namespaces: Literal[True] | None = Field(
        None, description="user.max_user_namespaces is above 0 where containers run."
    )
    rootless: bool = Field(False, description="Users without root run containers: user namespaces stay open to them.")
    rp_filter: Literal[0, 1, 2] | None = Field(
        None, description="Reverse path filter: 2 loose, 1 strict (taken as 2 on overlay networks), 0 off."
    )
    running: Literal["newest-installed"] | None = Field(
        None, description="The running kernel is the newest installed one; if not, a reboot is pending."
    )

    update: Literal["security", "all", "none"] | None = Field(
        None, description="Which offered kernels are installed: those with security fixes, all, or none."
    )
    reboot: Literal["never", "window", "now"] | None = Field(
        None, description="When a run may reboot a host into a newer kernel, on trial and with a way back."
    )
    window: Annotated[str, AfterValidator(_window)] | None = Field(
        None, description='When a host may reboot, in UTC: "02:00-04:00", or "sat,sun 22:00-04:00".'
    )
    drain: Drain | None = Field(None, description="What a host does before and after such a reboot.")
    deadline: int = Field(
        600, ge=60, le=7200, description="Seconds after its boot within which all must be found well for half a minute."
    )
    keep: Annotated[int, Field(ge=2, le=20)] | None = Field(
        None, description="How many kernels stay installed; never removed: the running one and the one to go back to."
    )

    @model_validator(mode="after")
    def _window_and_reboot(self) -> Self:
        if (self.reboot == "window") is not (self.window is not None):
            raise ValueError("`reboot: window` and `window` go together: give both, or neither")
        return self

    @model_validator(mode="after")
    def _rootless_needs_user_namespaces(self) -> Self:
        if self.rootless and self.value("kernel.unprivileged_userns_clone") == "0":
            raise ValueError("rootless containers need kernel.unprivileged_userns_clone: it cannot be 0 with rootless")
        return self

    def value(self, key: str) -> str | None:
        """The declared value of a sysctl as /proc/sys would show it; None where the policy does not set it."""
        value = (self.sysctls or {}).get(key)
        return None if value is None else " ".join(str(value).split())

    def word(self, name: str) -> str | None:
        """The declared boot parameter of this name."""
        return next((w for w in self.boot_parameters or () if kernel_boot.name_of(w) == name), None)
