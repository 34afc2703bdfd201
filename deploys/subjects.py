"""The subjects, in the order in which a run reads, judges and changes them. A new subject is one line here."""

from __future__ import annotations

<<<<<<< HEAD
from deploys import kernel, networks, userns
from deploys.engine.change import Subject

SUBJECTS: tuple[Subject, ...] = (
    kernel.SUBJECT,
=======
from deploys import networks, userns
from deploys.engine.change import Subject

SUBJECTS: tuple[Subject, ...] = (
>>>>>>> userns
    userns.SUBJECT,
    networks.SUBJECT,
)
