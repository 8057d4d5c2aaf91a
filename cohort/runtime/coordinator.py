"""The training loop of a cohort: advance, evaluate, save, and recover when students die."""

from collections.abc import Iterator, Sequence
from typing import Any

from cohort.data.dataset import ImageDataset, Split
from cohort.errors import RunError
from cohort.imports import written_name
from cohort.learning.learner import WEIGHTS_FILE, Files
from cohort.learning.measuring import Measuring, alikeness, together
from cohort.learning.student_files import ModelCard
from cohort.models.registry import with_places
from cohort.models.spec import Network
from cohort.reporting.waits import named
from cohort.run.ending import prefixed, write_student
from cohort.run.owner import Owner
from cohort.runtime.cohort import Cohort, HeldOut
from cohort.runtime.guard import RayGoneError, is_gone
from cohort.runtime.recovery import Drop, RecoveryPolicy, Restart, Stop
from cohort.runtime.waits import Waits

Evaluation = dict[int | str, dict[str, float]]
"""Measurements of each student, by number, and of their ``ensemble``."""


class Coordinator:
    """Trains a cohort, whichever way its students run, for the owner of its run.

    Args:
        cohort: the students, at step 0.
        networks: of all students, as the config has them.
        dataset: what they learn and are measured on.
        owner: of the run.
        policy: what is done when students die.
        measuring: how good their answers are.
        in_turn: students learn one after another (Algorithm 1), so that all but one always wait, and
            for whom is not worth saying.
    """

    def __init__(
        self,
        cohort: Cohort,
        networks: Sequence[Network],
        dataset: ImageDataset,
        owner: Owner,
        policy: RecoveryPolicy,
        measuring: Measuring,
        *,
        in_turn: bool = False,
    ) -> None:
        self.cohort = cohort
        self.networks = networks
        self.dataset = dataset
        self.owner = owner
        self.journal = owner.journal
        self.plan = owner.plan
        self.policy = policy
        self.measuring = measuring
        self.in_turn = in_turn
        self.evaluation: Evaluation = {}
        """The newest one, of ``evaluated_at`` steps done."""
        self.evaluated_at = -1
        self.waits = Waits(owner.journal.notice, owner.plan.steps_per_epoch)
        self.notices: list[str] = []
        self.leaving: tuple[int, ...] = ()
        """Students whose nodes are to go, and of whom there is no checkpoint since that is known."""
        cohort.listen(owner.journal.notice)

    def train(self) -> bool:
        """Train to the plan's last step, or until the owner is to stop; whether that was reached."""
        try:
            step = self._begin()
        except Exception as error:
            step = self._recover(error)
        self._tell()
        self.journal.start(step, self.cohort.students)
        while True:
            try:
                if step < self.plan.total_steps and not self.owner.stopping():
                    step = self._train_to(step, self.plan.next_stop(step))
                    self._save_in_time(step)
                else:
                    self._secure(step)
                    return step == self.plan.total_steps
            except Exception as error:
                step = self._recover(error)

    def about(self) -> dict[str, Any]:
        """What no config has: how the hosts' time was spent, and what did not go as it asked for."""
        hosts = self.waits.hosts() or self.owner.told_before("hosts", list)
        told = {"notices": self.notices} if self.notices else {}
        return ({"hosts": hosts} if hosts else {}) | told

    def evaluate(self, step: int) -> Evaluation:
        """Test measurements of every student and of their ensemble.

        Measured on the validation split too, if there is one, for whoever chooses by it.
        """
        self.evaluation, self.evaluated_at = self._measure("test", self.dataset.test, step), step
        if self.dataset.validation is not None:
            self._measure("validation", self.dataset.validation, step)
        return self.evaluation

    def finish(self) -> dict[str, Any]:
        """Write every student's final weights; their lines of the summary, and the ensemble's.

        And who died in the whole run: somebody may while this is done.
        """
        while True:
            try:
                lines = self._write_students()
                break
            except Exception as error:
                self._recover(error)
        progress = self.owner.progress
        return {
            "students": lines,
            "ensemble": prefixed(self.evaluation["ensemble"]),
            "restarts": progress.restarts,
            "dropped": progress.dropped,
        }

    def _write_students(self) -> list[dict[str, Any]]:
        if self.evaluated_at != self.owner.step:
            self.evaluate(self.owner.step)
        cohort = self.cohort
        entropies, digests = cohort.train_entropies(), cohort.weights_sha256()
        cards = {student: self._card(student) for student in cohort.students}
        for student, files in cohort.snapshots():
            folder = self.owner.folder.student(student)
            write_student(folder, files[WEIGHTS_FILE], cards[student])
        return [
            {
                "student": student,
                "model": cards[student].network,
                "parameters": cohort.parameters[student],
                **prefixed(self.evaluation[student]),
                "train_entropy": entropies[student],
                "weights_sha256": digests[student],
            }
            for student in cohort.students
        ]

    def _begin(self) -> int:
        """Put the cohort where the owner's checkpoint is, else save step 0; returns the step."""
        checkpoint = self.owner.checkpoint
        if checkpoint is None:
            self.owner.save(0, self._fresh())
            self.owner.settle()
            if self.owner.start:
                self.cohort.restore(self.owner.go_back().load)
            return 0
        gone = [student for student in self.cohort.students if student not in checkpoint.students]
        if gone:
            self.cohort.drop(gone)
        self.cohort.restore(checkpoint.load)
        self.journal.rewind(checkpoint.step, self.cohort.students)
        return checkpoint.step

    def _fresh(self) -> Iterator[tuple[int, Files]]:
        """Every student's files at step 0, with the weights that it is to start from."""
        for student, files in self.cohort.snapshots():
            yield student, self.owner.fresh(student, files)

    def _train_to(self, step: int, stop: int) -> int:
        start = step
        step = self.cohort.advance(start, stop, self.journal.trained, self._halting)
        self._tell()
        if step == start:  # there was no time for a step
            return step
        ended = step == self.plan.total_steps
        with self.journal.paused():
            if not self.in_turn:
                self.waits.add(self.cohort.times(), step - start)
            # Evaluated first: the records up to a checkpoint's step are then complete.
            if ended or step % self.plan.eval_every == 0:
                with self.journal.timed("evaluation"):
                    self.evaluate(step)
            if ended or step % self.plan.checkpoint_every == 0:
                self._save(step)
        return step

    def _halting(self) -> bool:
        """Whether to halt after this step: to end, or for a checkpoint before nodes go."""
        self.leaving += self.cohort.leaving()
        return bool(self.leaving) or self.owner.stopping()

    def _save_in_time(self, step: int) -> None:
        """If nodes are to go, see to a checkpoint of this step."""
        leaving, self.leaving = self.leaving, ()
        if leaving:
            self._secure(step)
            text = f"the node of {named(leaving)} is to go; checkpoint at step {step}"
            self.journal.notice(text)

    def _tell(self) -> None:
        """Pass on what the user should know of the cohort."""
        for text in self.cohort.notices():
            self.notices.append(text)
            self.journal.notice(text)

    def _secure(self, step: int) -> None:
        """Have a checkpoint of this step on disk, although none may be due."""
        with self.journal.paused():
            self.owner.settle()
            if step != self.owner.step:
                self._save(step)
                self.owner.settle()

    def _save(self, step: int) -> None:
        with self.journal.timed("checkpoints"):
            self.cohort.flush_records(self.journal.trained)
            self.owner.save(step, self.cohort.snapshots())

    def _measure(self, name: HeldOut, split: Split, step: int) -> Evaluation:
        """Measure and put on record; the ensemble's record has also how alike its students are."""
        answers = self.cohort.answers(name)
        result: Evaluation = {k: self.measuring.of(split, each) for k, each in answers.items()}
        of_all = list(answers.values())
        result["ensemble"] = self.measuring.of(split, together(split, of_all))
        told = result["ensemble"] | alikeness(split, of_all)
        self.journal.evaluated(step, {**result, "ensemble": told}, name)
        return result

    def _recover(self, error: Exception) -> int:
        """Decide about students that died and go back to the last checkpoint; returns its step.

        An error that killed nobody is the program's or the user's, and would come again: raised. So
        is that Ray has ended, of which nobody can be asked.
        """
        if is_gone():
            raise RayGoneError from error
        self.leaving = ()  # they went before there was time
        while processes := self.cohort.casualties():
            dead = tuple(student for students in processes for student in students)
            failures = self.owner.progress.failures + len(processes)
            alive = len(self.cohort.students) - len(dead)
            decision = self.policy.decide(dead, failures, alive)
            if isinstance(decision, Stop):
                raise RunError(decision.reason) from error
            try:
                with self.journal.paused(), self.journal.timed("recovery"):
                    return self._carry_out(decision, len(processes))
            except RunError:
                raise
            except Exception as another:  # somebody died while the cohort recovered
                error = another
        raise error

    def _carry_out(self, decision: Restart | Drop, processes: int) -> int:
        progress = self.owner.progress
        if isinstance(decision, Restart):
            progress.restarts += processes
            self.cohort.replace(decision.students)
        else:
            progress.dropped += decision.students
            progress.drops += processes
            self.cohort.drop(decision.students)
            self.evaluated_at = -1  # together with them
        if self.owner.checkpoint is not None:  # else nobody has learned anything yet
            self.owner.go_back()
        step = self._begin()
        self._tell()
        were = "were" if len(decision.students) > 1 else "was"
        self.journal.notice(
            f"{named(decision.students)} died and {were} {decision.verb}; "
            f"all go on from step {step}"
        )
        return step

    def _card(self, student: int) -> ModelCard:
        dataset = self.dataset
        placed = with_places(
            self.networks[student], num_classes=dataset.num_classes, image_shape=dataset.image_shape
        )
        return ModelCard.of(written_name(placed), dataset)
