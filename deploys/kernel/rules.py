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
        raise ValueError(f"cannot be set here: {kernel_sysctls.RESOLVED[key]}")
    if key not in kernel_sysctls.BY_KEY:
        raise ValueError(f"hullproof does not know this sysctl{_nearest(key, kernel_sysctls.BY_KEY)}")
    return key


def _known_word(word: str) -> str:
    if word not in kernel_boot.WORDS:
        raise ValueError(f"hullproof does not know {word}{_nearest(word, kernel_boot.WORDS)}")
    return word


def _nearest(word: str, known: Any) -> str:
    close = get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


SysctlKey = Annotated[str, AfterValidator(_known_key)]
SysctlText = Annotated[str, StringConstraints(pattern=r"^[ -~]+$")]
BootParameter = Annotated[str, AfterValidator(_known_word)]


def _window(text: str) -> str:
    Window.parse(text)
    return text


class Drain(Rules):
    """Shell commands that a host runs before and after a reboot by hullproof."""

    before: str | None = Field(
        None,
        description="Runs before the reboot. If it fails or takes more than 15 minutes, `after` runs and the host does "
        "not reboot.",
    )
    after: str | None = Field(None, description="Runs when the host is up again, whichever kernel it booted.")


class KernelRules(Rules):
    """Sysctls, boot parameters and kernel updates, with exceptions from benchmarks where containers need them."""

    sysctls: dict[SysctlKey, int | SysctlText | None] | None = Field(
        None,
        description="The value of each sysctl. A stricter value on the host stays; null removes a key that an extended "
        "policy sets.",
        json_schema_extra={"propertyNames": {"enum": [*sorted(kernel_sysctls.BY_KEY)]}},
    )
    boot_parameters: list[BootParameter] | None = Field(
        None,
        description="Parameters that the kernel's command line must have.",
        json_schema_extra={"items": {"enum": [*kernel_boot.WORDS]}},
    )
    weakening_parameters: list[Annotated[str, StringConstraints(pattern=r"^[!-~]+$")]] | None = Field(
        None,
        description="Parameters that switch a protection of the kernel off, such as mitigations=off, and that the "
        "command line may have all the same; [] for none.",
    )
    forwarding: Literal[True] | None = Field(
        None, description="IPv4 forwarding stays on where Docker's bridges need it, even if a benchmark turned it off."
    )
    overlay: Literal[True] | None = Field(
        None,
        description="No file of modprobe.d keeps the overlay module from loading where a container engine is.",
    )
    user_namespaces: Literal[True] | None = Field(
        None, description="user.max_user_namespaces is above 0 where containers run."
    )
    rootless: bool = Field(
        False, description="Users without root run containers here, so they may create user namespaces."
    )
    rp_filter: Literal[0, 1, 2] | None = Field(
        None,
        description="Reverse-path filtering: 2 is loose, 1 is strict (2 is used where overlay networks are), 0 is off.",
    )
    running: Literal["newest-installed"] | None = Field(
        None, description="The host runs its newest installed kernel; if it does not, a reboot is pending."
    )

    nested_virtualisation: Literal[False] | None = Field(
        None, description="Guests of KVM run no guests of their own (nested of kvm_intel, kvm_amd)."
    )
    kvm_users: list[str] | None = Field(
        None, description="The only users beside root who may open /dev/kvm, by its group; [] is nobody."
    )

    update: Literal["security", "all", "none"] | None = Field(
        None, description="Which kernels from the package lists are installed: security fixes, all, or none."
    )
    reboot: Literal["never", "window", "now"] | None = Field(
        None,
        description="When a run may reboot a host into a newer kernel. It boots that kernel on trial, and goes back to "
        "the old one if the boot health check fails.",
    )
    window: Annotated[str, AfterValidator(_window)] | None = Field(
        None, description='The maintenance window in UTC: "02:00-04:00", or "sat,sun 22:00-04:00".'
    )
    drain: Drain | None = Field(None, description="What a host runs before and after such a reboot.")
    deadline: int = Field(
        600,
        ge=60,
        le=7200,
        description="Seconds after a boot within which the boot health check must have passed for 30 seconds on end.",
    )
    keep: Annotated[int, Field(ge=2, le=20)] | None = Field(
        None,
        description="How many kernels stay installed. The running one and the one to go back to are never removed.",
    )

    @model_validator(mode="after")
    def _window_and_reboot(self) -> Self:
        if (self.reboot == "window") is not (self.window is not None):
            raise ValueError("`reboot: window` and `window` go together: give both, or neither")
        return self

    @model_validator(mode="after")
    def _rootless_needs_user_namespaces(self) -> Self:
        if self.rootless and self.value("kernel.unprivileged_userns_clone") == "0":
            raise ValueError("`rootless: true` and `kernel.unprivileged_userns_clone: 0` contradict each other")
        return self

    def value(self, key: str) -> str | None:
        """The declared value of a sysctl as /proc/sys would show it; None where the policy does not set it."""
        value = (self.sysctls or {}).get(key)
        return None if value is None else " ".join(str(value).split())

    def word(self, name: str) -> str | None:
        """The declared boot parameter of this name."""
        return next((w for w in self.boot_parameters or () if kernel_boot.name_of(w) == name), None)
