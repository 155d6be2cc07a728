"""Clients: threads that submit, watch, cancel and resume jobs over HTTP, and keep what they are told.

A gateway that is down or cannot reach its Redis is asked again, a submission with the same key, until it answers. An
answer that says anything else is kept and ends what the client wanted with that job.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from app.client import RETRIED_STATUSES, Client, ClientError, Job
from chaos.history import Acknowledged, CancelAcknowledged, History, Refused, Seen
from chaos.workload import FURTHER_EPOCHS, Desk, Plan, Purpose
from models.contract.jobs import JobState

ANSWER_SECONDS = 15.0
RETRY_SECONDS = 0.2
POLL_SECONDS = 0.25
AUDIT_SECONDS = 2.0

R = TypeVar("R")


class GivenUp(Exception):
    """What the client wanted cannot be had: refused, or the run is over."""


class JobClient:
    """One client, which sees plan after plan through; ``run`` is the body of its thread."""

    def __init__(self, name: str, base_url: str, history: History, over: threading.Event) -> None:
        """Connect to nothing yet."""
        self.name = name
        self._client = Client(base_url, ANSWER_SECONDS)
        self._history = history
        self._over = over

    def run(self, desk: Desk) -> None:
        """Work until the desk has nothing more."""
        with self._client:
            while (plan := desk.next()) is not None and not self._over.is_set():
                try:
                    self._see_through(plan)
                except GivenUp:  # the history says why
                    continue

    def audit(self) -> None:
        """Look at all jobs again and again, those that ended long ago included, until the run is over."""
        with self._client:
            while not self._over.wait(AUDIT_SECONDS):
                try:
                    self._list()
                except GivenUp:
                    return

    def audit_once(self) -> None:
        """Look at all jobs, and that was it."""
        with self._client:
            self._list()

    def _list(self) -> None:
        began = time.monotonic()
        for job in self._insist("list", "", self._client.jobs):
            self._seen(began, job)

    def _see_through(self, plan: Plan) -> None:
        job_id = self._submit(plan, plan.name, lambda key: self._client.submit(plan.body, key))
        if plan.purpose is Purpose.CANCELLED_QUEUED:
            self._cancel(job_id)
        elif plan.purpose is Purpose.CANCELLED_LATE:
            self._watch(job_id, lambda job: job.state is not JobState.QUEUED and job.state is not JobState.RUNNING)
            self._cancel(job_id)
        elif plan.purpose in (Purpose.CANCELLED_RUNNING, Purpose.RESUMED):
            self._watch(job_id, lambda job: job.progress.step > 0)
            self._over.wait(plan.patience_seconds)
            self._cancel(job_id)
        if plan.follows:
            self._follow(job_id)
        job = self._watch(job_id, lambda _: False)
        if plan.purpose is Purpose.RESUMED and job.sent().get("checkpoint"):
            self._resume(plan, job)

    def _resume(self, plan: Plan, job: Job) -> None:
        training: Mapping[str, object] = {"epochs": max(1, job.progress.epoch) + FURTHER_EPOCHS}

        def send(key: str) -> Job:
            return self._client.resume(job.id, training, key)

        self._watch(self._submit(plan, f"{plan.name}-resumed", send, job.id), lambda _: False)

    def _submit(self, plan: Plan, key: str, send: Callable[[str], Job], resumed_from: str | None = None) -> str:
        """Return the id of the job as soon as the gateway acknowledges it."""
        found: list[Job] = []
        for _ in range(2 if plan.twice else 1):
            began = time.monotonic()
            job = self._insist("submit", "", lambda: send(key))
            found.append(job)
            purpose = Purpose.RESUMING if resumed_from else plan.purpose
            self._history.add(
                Acknowledged(began, time.monotonic(), self.name, job.id, key, purpose.value, resumed_from)
            )
            self._seen(began, job)
        return found[0].id

    def _cancel(self, job_id: str) -> None:
        """Ask for the end of a job; that it has ended already is an answer, too."""
        began = time.monotonic()
        try:
            job = self._insist("cancel", job_id, lambda: self._client.cancel(job_id))
        except GivenUp:
            return
        self._history.add(CancelAcknowledged(began, time.monotonic(), self.name, job_id))
        self._seen(began, job)

    def _watch(self, job_id: str, reached: Callable[[Job], bool]) -> Job:
        """Return the job when ``reached`` says so or it has ended."""
        while True:
            began = time.monotonic()
            job = self._insist("show", job_id, lambda: self._client.job(job_id))
            self._seen(began, job)
            if job.state.final or reached(job):
                return job
            self._over.wait(POLL_SECONDS)

    def _follow(self, job_id: str) -> None:
        """Follow the event stream to its end; the client takes a broken one up again by itself."""
        began = time.monotonic()
        try:
            for event in self._client.events(job_id):
                if event.event == "state":
                    state, attempt = JobState(event.data["state"]), int(event.data["attempt"])
                    self._history.add(Seen(began, time.monotonic(), self.name, job_id, state, attempt, event.id))
                if self._over.is_set():
                    raise GivenUp
        except ClientError as error:
            self._refused(began, "events", job_id, error)

    def _insist(self, request: str, job_id: str, call: Callable[[], R]) -> R:
        """Return what ``call`` returns, asked again for as long as the gateway cannot answer.

        Raises:
            GivenUp: it refuses, or the run is over.
        """
        while True:
            began = time.monotonic()
            try:
                return call()
            except ClientError as error:
                self._refused(began, request, job_id, error)
                if error.status and error.status not in RETRIED_STATUSES:
                    raise GivenUp from error
            if self._over.wait(RETRY_SECONDS):
                raise GivenUp

    def _refused(self, began: float, request: str, job_id: str, error: ClientError) -> None:
        entry = Refused(
            began, time.monotonic(), self.name, request, job_id, error.status, error.code, error.detail[:300]
        )
        self._history.add(entry)

    def _seen(self, began: float, job: Job) -> None:
        self._history.add(Seen(began, time.monotonic(), self.name, job.id, job.state, job.attempt))
