"""The part of GitHub's GraphQL schema that the demo answers.

Names and types are those of https://docs.github.com/graphql; a test holds this text to GitHub's
own schema.
"""

SCHEMA = """
scalar BigInt
scalar DateTime
scalar GitObjectID
scalar URI

interface Node { id: ID! }
interface Actor { login: String! url: URI! }

type Query {
  node(id: ID!): Node
  nodes(ids: [ID!]!): [Node]!
  viewer: User!
  rateLimit(dryRun: Boolean = false): RateLimit
  repository(owner: String!, name: String!, followRenames: Boolean = true): Repository
}

type RateLimit { limit: Int! cost: Int! remaining: Int! used: Int! resetAt: DateTime! }

type User implements Node & Actor { id: ID! login: String! url: URI! }
type Bot implements Node & Actor { id: ID! login: String! url: URI! }
type Organization implements Node & Actor { id: ID! login: String! url: URI! }

type Repository implements Node {
  id: ID!
  databaseId: Int
  name: String!
  nameWithOwner: String!
  url: URI!
  autoMergeAllowed: Boolean!
  pushedAt: DateTime
  defaultBranchRef: Ref
  ref(qualifiedName: String!): Ref
  refs(refPrefix: String!, first: Int, after: String): RefConnection
  issues(first: Int, after: String, orderBy: IssueOrder): IssueConnection!
  pullRequests(
    first: Int, after: String, orderBy: IssueOrder, states: [PullRequestState!]
  ): PullRequestConnection!
  pullRequest(number: Int!): PullRequest
  issue(number: Int!): Issue
  mergeQueue(branch: String): MergeQueue
  object(expression: String, oid: GitObjectID): GitObject
}

type Ref implements Node { id: ID! name: String! prefix: String! target: GitObject }
type RefConnection { totalCount: Int! nodes: [Ref] pageInfo: PageInfo! }
input IssueOrder { field: IssueOrderField! direction: OrderDirection! }
enum IssueOrderField { COMMENTS CREATED_AT UPDATED_AT }
enum OrderDirection { ASC DESC }
type IssueConnection { totalCount: Int! nodes: [Issue] pageInfo: PageInfo! }
type Issue implements Node {
  id: ID! number: Int! title: String! body: String! url: URI! state: IssueState! author: Actor
  updatedAt: DateTime!
}
enum IssueState { OPEN CLOSED }

enum PullRequestState { OPEN CLOSED MERGED }
enum MergeableState { MERGEABLE CONFLICTING UNKNOWN }
enum MergeStateStatus { DIRTY UNKNOWN BLOCKED BEHIND DRAFT UNSTABLE HAS_HOOKS CLEAN }
enum PullRequestReviewDecision { CHANGES_REQUESTED APPROVED REVIEW_REQUIRED }
enum PullRequestMergeMethod { MERGE SQUASH REBASE }
enum MergeQueueEntryState { QUEUED AWAITING_CHECKS MERGEABLE UNMERGEABLE LOCKED }
enum ReportedContentClassifiers {
  SPAM ABUSE OFF_TOPIC OUTDATED DUPLICATE RESOLVED
}

type PullRequest implements Node {
  id: ID!
  fullDatabaseId: BigInt
  isCrossRepository: Boolean!
  number: Int!
  title: String!
  body: String!
  url: URI!
  author: Actor
  state: PullRequestState!
  isDraft: Boolean!
  merged: Boolean!
  mergedAt: DateTime
  updatedAt: DateTime!
  mergeable: MergeableState!
  mergeStateStatus: MergeStateStatus!
  reviewDecision: PullRequestReviewDecision
  headRefName: String!
  headRefOid: GitObjectID!
  baseRefName: String!
  baseRefOid: GitObjectID!
  mergeCommit: Commit
  commits(last: Int): PullRequestCommitConnection!
  autoMergeRequest: AutoMergeRequest
  isInMergeQueue: Boolean!
  isMergeQueueEnabled: Boolean!
  mergeQueueEntry: MergeQueueEntry
  repository: Repository!
}

interface GitObject { id: ID! oid: GitObjectID! }
type Commit implements Node & GitObject {
  id: ID!
  oid: GitObjectID!
  message: String!
  tree: Tree!
  associatedPullRequests(first: Int, after: String): PullRequestConnection
  checkSuites(filterBy: CheckSuiteFilter, first: Int, after: String): CheckSuiteConnection
  status: Status
  statusCheckRollup: StatusCheckRollup
}
type StatusCheckRollup implements Node {
  id: ID! state: StatusState!
  contexts(first: Int, after: String): StatusCheckRollupContextConnection!
}
type StatusCheckRollupContextConnection {
  totalCount: Int! checkRunCount: Int! statusContextCount: Int!
  checkRunCountsByState: [CheckRunStateCount!]
  statusContextCountsByState: [StatusContextStateCount!]
}
type CheckRunStateCount { count: Int! state: CheckRunState! }
type StatusContextStateCount { count: Int! state: StatusState! }
enum CheckRunState {
  ACTION_REQUIRED CANCELLED COMPLETED FAILURE IN_PROGRESS NEUTRAL PENDING QUEUED SKIPPED STALE
  STARTUP_FAILURE SUCCESS TIMED_OUT WAITING
}
type Blob implements Node & GitObject { id: ID! oid: GitObjectID! byteSize: Int! }
type Tree implements Node & GitObject { id: ID! oid: GitObjectID! }
type PageInfo {
  hasNextPage: Boolean! hasPreviousPage: Boolean! startCursor: String endCursor: String
}
type PullRequestConnection { totalCount: Int! nodes: [PullRequest] pageInfo: PageInfo! }
type PullRequestCommitConnection { totalCount: Int! nodes: [PullRequestCommit] }
type PullRequestCommit implements Node { id: ID! commit: Commit! }
input CheckSuiteFilter { appId: Int checkName: String }
type CheckSuiteConnection { totalCount: Int! nodes: [CheckSuite] pageInfo: PageInfo! }
type CheckSuite implements Node {
  id: ID! app: App
  checkRuns(filterBy: CheckRunFilter, first: Int, after: String): CheckRunConnection
  workflowRun: WorkflowRun
}
type App implements Node { id: ID! databaseId: Int slug: String! name: String! }
type WorkflowRun implements Node { id: ID! databaseId: Int event: String! }
input CheckRunFilter { checkName: String checkType: CheckRunType }
enum CheckRunType { ALL LATEST }
type CheckRunConnection { totalCount: Int! nodes: [CheckRun] pageInfo: PageInfo! }
type CheckRun implements Node {
  id: ID! databaseId: Int name: String! status: CheckStatusState!
  conclusion: CheckConclusionState url: URI!
  title: String summary: String text: String
}
enum CheckStatusState { REQUESTED QUEUED IN_PROGRESS COMPLETED WAITING PENDING }
enum CheckConclusionState {
  ACTION_REQUIRED TIMED_OUT CANCELLED FAILURE SUCCESS NEUTRAL SKIPPED STARTUP_FAILURE STALE
}
type Status implements Node { id: ID! state: StatusState! context(name: String!): StatusContext }
enum StatusState { EXPECTED ERROR FAILURE PENDING SUCCESS }
type StatusContext implements Node {
  id: ID! context: String! state: StatusState! targetUrl: URI description: String
}

type AutoMergeRequest {
  enabledAt: DateTime
  enabledBy: Actor
  mergeMethod: PullRequestMergeMethod!
  commitHeadline: String
  commitBody: String
  pullRequest: PullRequest!
}

type MergeQueue implements Node {
  id: ID! url: URI! entries(first: Int, after: String): MergeQueueEntryConnection
}
type MergeQueueEntryConnection { totalCount: Int! nodes: [MergeQueueEntry] pageInfo: PageInfo! }
type MergeQueueEntry implements Node {
  id: ID!
  enqueuedAt: DateTime!
  enqueuer: Actor!
  position: Int!
  state: MergeQueueEntryState!
  estimatedTimeToMerge: Int
  jump: Boolean!
  solo: Boolean!
  headCommit: Commit
  baseCommit: Commit
  pullRequest: PullRequest
}

type Mutation {
  enablePullRequestAutoMerge(
    input: EnablePullRequestAutoMergeInput!
  ): EnablePullRequestAutoMergePayload
  disablePullRequestAutoMerge(
    input: DisablePullRequestAutoMergeInput!
  ): DisablePullRequestAutoMergePayload
  enqueuePullRequest(input: EnqueuePullRequestInput!): EnqueuePullRequestPayload
  dequeuePullRequest(input: DequeuePullRequestInput!): DequeuePullRequestPayload
  markPullRequestReadyForReview(
    input: MarkPullRequestReadyForReviewInput!
  ): MarkPullRequestReadyForReviewPayload
  convertPullRequestToDraft(
    input: ConvertPullRequestToDraftInput!
  ): ConvertPullRequestToDraftPayload
  minimizeComment(input: MinimizeCommentInput!): MinimizeCommentPayload
}

input EnablePullRequestAutoMergeInput {
  pullRequestId: ID!
  mergeMethod: PullRequestMergeMethod = MERGE
  commitHeadline: String
  commitBody: String
  expectedHeadOid: GitObjectID
  clientMutationId: String
}
type EnablePullRequestAutoMergePayload { pullRequest: PullRequest clientMutationId: String }
input DisablePullRequestAutoMergeInput { pullRequestId: ID! clientMutationId: String }
type DisablePullRequestAutoMergePayload { pullRequest: PullRequest clientMutationId: String }
input EnqueuePullRequestInput {
  pullRequestId: ID! jump: Boolean expectedHeadOid: GitObjectID clientMutationId: String
}
type EnqueuePullRequestPayload { mergeQueueEntry: MergeQueueEntry clientMutationId: String }
input DequeuePullRequestInput { id: ID! clientMutationId: String }
type DequeuePullRequestPayload { mergeQueueEntry: MergeQueueEntry clientMutationId: String }
input MarkPullRequestReadyForReviewInput { pullRequestId: ID! clientMutationId: String }
type MarkPullRequestReadyForReviewPayload { pullRequest: PullRequest clientMutationId: String }
input ConvertPullRequestToDraftInput { pullRequestId: ID! clientMutationId: String }
type ConvertPullRequestToDraftPayload { pullRequest: PullRequest clientMutationId: String }
input MinimizeCommentInput {
  subjectId: ID! classifier: ReportedContentClassifiers! clientMutationId: String
}
type MinimizeCommentPayload { minimizedComment: Minimizable clientMutationId: String }
type PullRequestReview implements Node { id: ID! body: String! lastEditedAt: DateTime }
interface Minimizable { isMinimized: Boolean! minimizedReason: String }
type IssueComment implements Node & Minimizable {
  id: ID! body: String! isMinimized: Boolean! minimizedReason: String
}
"""
