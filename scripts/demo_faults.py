"""What goes wrong in the demonstration on the real engines, and how it is mended."""

import signal
import time
from typing import Any

import psutil
from demo_story import DemoFailed, Story

CATCH_UP_SECONDS = 180.0


def _validators(story: Story) -> list[dict[str, Any]]:
    parts = story.phr("network", "status", str(story.directory), expect=None)["parts"]
    return [part for part in parts if part["kind"] == "validator"]


def kill_a_validator(story: Story) -> None:
    """One of the validators dies in the middle: the rest of the story is told without it."""

    def kill() -> str:
        *others, lost = _validators(story)
        process = psutil.Process(lost["pid"])
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        story.facts["validator_killed"] = {"name": lost["name"], "block": lost["final_block"]}
        return f"kill -9 at block {lost['final_block']}; {len(others)} go on"

    story.step("a validator dies", kill)


def bring_back_the_validator(story: Story) -> None:
    """The dead validator comes back and catches up."""

    def start() -> str:
        killed = story.facts["validator_killed"]
        story.phr("network", "up", str(story.directory))
        deadline = time.monotonic() + CATCH_UP_SECONDS
        while True:
            (back,) = (part for part in _validators(story) if part["name"] == killed["name"])
            if back["state"] == "ready" and back["final_block"] > killed["block"] and back["lag_blocks"] <= 1:
                break
            if time.monotonic() > deadline:
                raise DemoFailed(f"the validator did not catch up: {back}")
            time.sleep(0.5)
        killed["caught_up_to"] = back["final_block"]
        return f"caught up with {back['final_block'] - killed['block']} blocks"

    story.step("the validator comes back", start)
