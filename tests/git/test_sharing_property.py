"""However pull requests were stacked and merged, undoing one never undoes another's work."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.git.landed_changes import Apart, LandedPullRequest, choose, part_of
from bot.git.process import Git
from bot.git.pull_commits import Landing, landing_of
from bot.git.revert import RevertedTree, reverted_tree
from tests.git.history_builder import History

METHODS = ("merge", "squash", "rebase")


@dataclass
class Topic:
    """A pull request; `onto` is the one it is stacked on, None: main."""

    number: int
    onto: int | None
    commits: int
    method: str
    merge: str = ""
    head: str = ""
    stacked: list[Topic] = field(default_factory=list)

    @property
    def branch(self) -> str:
        return f"topic-{self.number}"

    @property
    def files(self) -> set[str]:
        return {f"{self.number}-{each}.py" for each in range(self.commits)}


def topics_of(shape: list[tuple[int, int, str]]) -> list[Topic]:
    topics: list[Topic] = []
    for number, (onto, commits, method) in enumerate(shape):
        below = onto % (number + 1) - 1
        topic = Topic(number, None if below < 0 else below, commits, method)
        topics.append(topic)
        if topic.onto is not None:
            topics[topic.onto].stacked.append(topic)
    return topics


def work(history: History, topic: Topic, start: str) -> None:
    history.branch(topic.branch, start)
    for name in sorted(topic.files):
        history.commit({name: f"{name}\n"}, f"Add {name}")


def land(history: History, topic: Topic, onto: str) -> None:
    """Merge what is stacked on it, then it."""
    for above in topic.stacked:
        land(history, above, topic.branch)
    history.checkout(topic.branch)
    topic.head = history.head
    history.checkout(onto)
    if topic.method == "merge":
        topic.merge = history.merge(topic.head, message=f"Merge #{topic.number}")
        return
    # Something came meanwhile, so that copies are copies.
    base = history.commit({f"meanwhile-{onto}-{topic.number}": "x\n"}, "Meanwhile")
    history.clock += 60
    if topic.method == "squash":
        history.git("merge", "--squash", "--quiet", topic.head)
        history.git("commit", "--quiet", "-m", f"Squash #{topic.number}")
    else:
        fork = history.git("merge-base", base, topic.head)
        picked = history.git("rev-list", "--reverse", "--no-merges", f"{fork}..{topic.head}")
        history.git("cherry-pick", "--allow-empty", *picked.split())
    topic.merge = history.head


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    shape=st.lists(
        st.tuples(st.integers(0, 5), st.integers(1, 2), st.sampled_from(METHODS)),
        min_size=1,
        max_size=4,
    ),
    together=st.booleans(),
)
async def test_what_is_chosen_for_one_pull_request_never_undoes_anothers_work(
    shape: list[tuple[int, int, str]], together: bool
) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        history = History.start(Path(scratch) / "work")
        history.commit({"start.py": "start\n"})
        topics = topics_of(shape)
        for topic in topics:
            work(history, topic, "main" if topic.onto is None else topics[topic.onto].branch)
        bases = [topic for topic in topics if topic.onto is None]
        if together:
            # An octopus: one merge for all of them.
            for topic in bases:
                for above in topic.stacked:
                    land(history, above, topic.branch)
                history.checkout(topic.branch)
                topic.head = history.head
            history.checkout("main")
            merge = history.merge(*(topic.head for topic in bases))
            for topic in bases:
                topic.merge = merge
        else:
            for topic in bases:
                land(history, topic, "main")
        history.checkout("main")
        onto = history.commit({"later.py": "later\n"}, "Later")
        git = Git(history.git_dir)
        for top in bases:
            landing = await landing_of(git, onto=onto, merge_commit=top.merge, head=top.head)
            if not isinstance(landing, Landing):
                continue
            parts = {
                each.number: await part_of(
                    git,
                    landing,
                    LandedPullRequest(number=each.number, merge_commit=each.merge, head=each.head),
                )
                for each in topics
            }
            for topic in topics:
                if not parts[topic.number]:
                    continue
                choice = choose(landing, parts, {topic.number})
                if not isinstance(choice, Apart):
                    continue
                undone = await reverted_tree(git, choice.commits[topic.number], onto)
                assert isinstance(undone, RevertedTree), undone
                gone = history.files(onto).keys() - history.files(undone.tree).keys()
                # What came to its branch meanwhile is its own work, too.
                mine = {path for path in gone if not path.startswith("meanwhile")}
                assert mine == topic.files, (topic, choice)
