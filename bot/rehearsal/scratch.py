"""A person at work in a scratch repository: changes, merges, comments, and waits for the bot."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from bot.github.client import RepositoryClient
from bot.rehearsal.assumptions import RawGitHub, StepRefused

T = TypeVar("T")
CHECK = "rehearsal"
TITLE = "Rehearsal: "
BRANCHES = "rehearsal/"
Timed = Callable[[str, str, float], None]
"""Told how long something took: whose part it is, what, and the seconds."""
_MORE_LOOKS = 8
"""At the end of a Run its last comment comes before its reaction."""
_MEND = "Do what it says, then rehearse again."
_RULES = (
    "Take that rule off the default branch for the rehearsal, or put yourself on its bypass list: "
    "Settings, Rules, Rulesets."
)
RULES_OF_BRANCHES = (
    "Take off the rule that keeps you from such branches: Settings, Rules, Rulesets."
)


class ScratchRepository:
    """The repository, through the eyes and hands of one person; the App reads what it may.

    Attributes:
        person: sends the person's requests.
        client: the App's calls.
        login: who the person is.
        bot: the login that the bot comments under.
        branch: the default branch.
        by_hand: whether the person reports the check, since no workflow does.
        unanswered: the comments without an end, by the number they stand on.
        merged: what was merged last, as facts of the rehearsal.
    """

    def __init__(
        self,
        person: RawGitHub,
        client: RepositoryClient,
        *,
        login: str,
        bot: str,
        branch: str,
        every: float,
        patience: float,
        timed: Timed,
    ) -> None:
        """Prepare; nothing is touched.

        Args:
            person: sends the person's requests.
            client: the App's calls.
            login: who the person is.
            bot: the login that the bot comments under.
            branch: the default branch.
            every: seconds between two looks.
            patience: seconds that anything may take.
            timed: told how long the bot's first reaction took.
        """
        self.person, self.client = person, client
        self.login, self.bot, self.branch = login, bot, branch
        self._every, self.patience, self._timed = every, patience, timed
        # GitHub's times are whole seconds.
        self._began = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=1)
        self._reported = set[str]()
        self.by_hand = False
        self.unanswered: dict[int, int] = {}
        self._posting: set[asyncio.Task[int]] = set()
        self.merged: dict[str, Any] = {}

    # --- changes ---

    async def head(self) -> str:
        """The commit that the default branch points to."""
        ref = await self.person.must("GET", f"git/ref/heads/{self.branch}")
        return str(ref["object"]["sha"])

    async def tree(self, upon: str, files: Mapping[str, str]) -> str:
        """Write the tree of a commit with these files in it; its id."""
        entries = [
            {"path": path, "mode": "100644", "type": "blob", "content": text}
            for path, text in files.items()
        ]
        body = {"base_tree": await self.client.git.tree_of(upon), "tree": entries}
        return str((await self.person.must("POST", "git/trees", body, status=201))["sha"])

    async def commit(self, parent: str, tree: str, message: str, by: str = "") -> str:
        """Make a commit that no branch points to yet, perhaps in another's name; its SHA."""
        body: dict[str, Any] = {"message": message, "tree": tree, "parents": [parent]}
        if by:
            who = {"name": by, "email": f"{by}@rehearsal.invalid"}
            body |= {"author": who, "committer": who}
        return str((await self.person.must("POST", "git/commits", body, status=201))["sha"])

    async def make_branch(self, branch: str, sha: str) -> str:
        """Make `rehearsal/<branch>`; its name."""
        name = f"{BRANCHES}{branch}"
        # An earlier rehearsal that was cut off may have left it.
        await self.person.ask("DELETE", f"git/refs/heads/{name}")
        ref = {"ref": f"refs/heads/{name}", "sha": sha}
        await self.person.must("POST", "git/refs", ref, status=201, remedy=RULES_OF_BRANCHES)
        return name

    async def open(self, title: str, sha: str, branch: str) -> int:
        """Open a pull request with this head from `rehearsal/<branch>`; its number."""
        name = await self.make_branch(branch, sha)
        body = {"title": f"{TITLE}{title}", "head": name, "base": self.branch}
        return int((await self.person.must("POST", "pulls", body, status=201))["number"])

    async def propose(self, title: str, files: Mapping[str, str], branch: str) -> int:
        """Open a pull request that changes these files; its number."""
        head = await self.head()
        tree = await self.tree(head, files)
        return await self.open(title, await self.commit(head, tree, f"{TITLE}{title}"), branch)

    async def push(self, sha: str) -> str:
        """Move the default branch forward; GitHub's words where it does not let the person."""
        body = {"sha": sha, "force": False}
        pushed = await self.person.ask("PATCH", f"git/refs/heads/{self.branch}", body)
        return "" if pushed.status == 200 else pushed.said or str(pushed.status)

    async def methods(self) -> list[str]:
        """The ways of merging that the default branch allows."""
        self.client.forget_rules()
        rules = await self.client.branch_rules(self.branch)
        return [each.value for each in rules.merge_methods]

    async def merge(self, number: int, method: str = "") -> None:
        """Merge a pull request, once GitHub knows whether it can be.

        Raises:
            StepRefused: a rule does not allow it.
        """
        methods = await self.methods()
        if not methods:
            raise StepRefused(
                f"{self.branch} allows no way of merging a pull request.",
                "Allow one: Settings, General, Pull Requests.",
            )

        async def mergeable() -> Any:
            pull = await self.pull(number)
            return pull if pull["mergeable"] is not None else None

        pull = await self.until(mergeable, f"whether #{number} can be merged")
        head = str(pull["head"]["sha"])
        body = {"merge_method": method or methods[0], "sha": head}
        done = await self.person.must("PUT", f"pulls/{number}/merge", body, remedy=_RULES)
        self.merged = {"merged": number, "merged_head": head, "merge": done["sha"]}

    # --- looks ---

    async def pull(self, number: int) -> Any:
        """One pull request."""
        return await self.person.must("GET", f"pulls/{number}")

    async def pulls(self, *beginnings: str) -> list[Any]:
        """The pull requests of this rehearsal, newest first; those whose branches begin so."""
        found = await self.person.must("GET", "pulls?state=all&per_page=50")
        return [
            each
            for each in found
            if self.is_new(each) and each["head"]["ref"].startswith(beginnings or ("",))
        ]

    def is_new(self, shown: Any) -> bool:
        """Whether an issue or pull request was opened since the rehearsal began."""
        opened = datetime.fromisoformat(shown["created_at"].replace("Z", "+00:00"))
        return opened >= self._began

    async def text(self, path: str) -> str | None:
        """A file of the default branch; None where there is none."""
        found = await self.client.contents.read(path)
        return None if found is None else found.content.decode()

    async def checks(self, sha: str) -> dict[str, str | None]:
        """What check-runs say of a commit, by name; None: not yet."""
        found = await self.person.must("GET", f"commits/{sha}/check-runs?per_page=100")
        return {str(each["name"]): each["conclusion"] for each in found["check_runs"]}

    async def green(self, number: int, longest: float | None = None) -> None:
        """Wait until the check has passed on a pull request's head.

        Raises:
            StepRefused: it fails, or says nothing in time.
        """
        sha = str((await self.pull(number))["head"]["sha"])
        if self.by_hand:
            await self._report(sha)
            return

        async def ended() -> str | None:
            return (await self.checks(sha)).get(CHECK)

        what = f"`{CHECK}` on #{number}"
        if (said := await self.until(ended, what, longest)) != "success":
            raise StepRefused(f"{what} ended as {said}.", "See its log on GitHub.")

    async def until(
        self, look: Callable[[], Awaitable[T | None]], what: str, longest: float | None = None
    ) -> T:
        """Look until something is there, and give it.

        Raises:
            StepRefused: it is not within the patience there is, or `longest` seconds.
        """
        longest = min(self.patience, longest or self.patience)
        began = time.monotonic()
        while not (found := await look()):
            if time.monotonic() - began > longest:
                more = "Give it more time with --patience."
                raise StepRefused(f"{what}: nothing within {longest:g} s.", more)
            await asyncio.sleep(self._every)
        return found

    async def _report(self, sha: str) -> None:
        if sha not in self._reported:
            self._reported.add(sha)
            body = {"state": "success", "context": CHECK}
            await self.person.must("POST", f"statuses/{sha}", body, status=201)

    # --- commands ---

    async def ask(
        self,
        number: int,
        words: str,
        *,
        watch: Callable[[], Awaitable[object]] | None = None,
        answer: Callable[[], Awaitable[bool]] | None = None,
    ) -> int:
        """Comment a command, and wait until it is done; the comment's id.

        Args:
            number: the issue or pull request.
            words: the command.
            watch: called at each look.
            answer: called where the bot asks the person something; whether it did what was asked.

        Raises:
            StepRefused: the bot refuses, or asks what nobody here answers; in its words.
        """
        posting = asyncio.create_task(self._post(number, words))
        self._posting.add(posting)
        posting.add_done_callback(self._posting.discard)
        comment, began, asked = await asyncio.shield(posting), time.monotonic(), 0
        is_heard = False
        while time.monotonic() - began < self.patience:
            ours = await self._reactions(comment)
            if ours and not is_heard:
                is_heard = True
                self._timed(words.split()[0], "first reaction", time.monotonic() - began)
            if watch is not None:
                await watch()
            if ours & {"+1", "confused"}:
                self.unanswered.pop(number, None)
            if "+1" in ours:
                return comment
            said = await self._said(number, comment)
            if "confused" in ours:
                raise StepRefused(f"{words}: {said or 'refused without a word'}", _MEND)
            if f"@{self.login}" in said:
                if answer is not None and await answer():
                    began, asked = time.monotonic(), 0
                    continue
                asked += 1
                if asked > _MORE_LOOKS:
                    raise StepRefused(f"{words}: {said}", _MEND)
            if self.by_hand:
                for pull in await self.pulls():
                    await self._report(pull["head"]["sha"])
            await asyncio.sleep(self._every)
        where = f"{words} on #{number}"
        if is_heard:
            more = f"See #{number}, or give it more time with --patience."
            raise StepRefused(f"{where}: no end within {self.patience:g} s.", more)
        why = "Run `playbooks doctor`: does GitHub reach the bot?"
        raise StepRefused(f"{where}: no reaction within {self.patience:g} s.", why)

    async def _post(self, number: int, words: str) -> int:
        body = {"body": words}
        posted = await self.person.must("POST", f"issues/{number}/comments", body, status=201)
        self.unanswered[number] = int(posted["id"])
        return self.unanswered[number]

    async def asked(self) -> dict[int, int]:
        """Give the commands without an answer by where they are, also one just being posted."""
        await asyncio.gather(*self._posting, return_exceptions=True)
        return dict(self.unanswered)

    async def answered(self, comment: int, number: int) -> None:
        """Wait until the bot has answered a command.

        Args:
            comment: the command's comment.
            number: the issue or pull request that it is on.

        Raises:
            StepRefused: it does not within the patience there is.
        """

        async def look() -> bool:
            return bool(await self._reactions(comment) & {"+1", "confused"})

        await self.until(look, f"the end of what was asked on #{number}")

    async def _reactions(self, comment: int) -> set[str]:
        given = await self.person.must("GET", f"issues/comments/{comment}/reactions")
        return {each["content"] for each in given if each["user"]["login"] == self.bot}

    async def _said(self, number: int, after: int) -> str:
        """The bot's newest comment after another, the status apart, on one line."""
        found = await self.person.must("GET", f"issues/{number}/comments?per_page=100")
        theirs = [
            str(each["body"])
            for each in found
            if each["id"] > after
            and each["user"]["login"] == self.bot
            and not each["body"].startswith("**")
        ]
        plain = re.sub(r"<!--.*?-->", "", theirs[-1], flags=re.DOTALL) if theirs else ""
        return " ".join(plain.split())[:600]
