CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY);
CREATE TABLE schema_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT schema_version_pkc PRIMARY KEY (version_num)
);
CREATE TABLE audit_entries (
	repository_id BIGINT NOT NULL, 
	seq BIGINT NOT NULL, 
	time TEXT NOT NULL, 
	actor TEXT NOT NULL, 
	action TEXT NOT NULL, 
	incident TEXT, 
	run TEXT, 
	refs TEXT NOT NULL, 
	data TEXT NOT NULL, 
	prev_hash TEXT NOT NULL, 
	entry_hash TEXT NOT NULL, 
	CONSTRAINT pk_audit_entries PRIMARY KEY (repository_id, seq), 
	CONSTRAINT uq_audit_entries_repository_id_prev_hash UNIQUE (repository_id, prev_hash)
);
CREATE INDEX ix_audit_entries_incident ON audit_entries (incident);
CREATE TABLE audit_heads (
	repository_id BIGINT NOT NULL, 
	seq BIGINT NOT NULL, 
	head_hash TEXT NOT NULL, 
	CONSTRAINT pk_audit_heads PRIMARY KEY (repository_id)
);
CREATE TABLE inbox (
	id INTEGER NOT NULL, 
	"key" TEXT NOT NULL, 
	delivery_id TEXT, 
	payload JSON NOT NULL, 
	received_at TEXT NOT NULL, 
	taken_by TEXT, 
	taken_at TEXT, 
	done_at TEXT, is_talk BOOLEAN DEFAULT 0 NOT NULL, 
	CONSTRAINT pk_inbox PRIMARY KEY (id), 
	CONSTRAINT uq_inbox_key UNIQUE ("key")
);
CREATE INDEX ix_inbox_waiting ON inbox (id) WHERE done_at IS NULL;
CREATE TABLE incidents (
	id TEXT NOT NULL, 
	repository_id BIGINT NOT NULL, 
	repository TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	subject TEXT NOT NULL, 
	title TEXT NOT NULL, 
	severity TEXT NOT NULL, 
	status TEXT NOT NULL, 
	source TEXT NOT NULL, 
	source_url TEXT, 
	opened_by TEXT NOT NULL, 
	dedup_key TEXT, 
	group_key TEXT, 
	alert_count INTEGER NOT NULL, 
	suspect TEXT, 
	started_at TEXT, 
	detected_at TEXT NOT NULL, 
	acknowledged_at TEXT, 
	mitigated_at TEXT, 
	resolved_at TEXT, 
	closed_at TEXT, 
	duplicate_of TEXT, 
	recurrence_of TEXT, 
	adr TEXT, 
	issue INTEGER, 
	prs JSON NOT NULL, 
	version INTEGER NOT NULL, 
	CONSTRAINT pk_incidents PRIMARY KEY (id), 
	CONSTRAINT fk_incidents_duplicate_of FOREIGN KEY(duplicate_of) REFERENCES incidents (id), 
	CONSTRAINT fk_incidents_recurrence_of FOREIGN KEY(recurrence_of) REFERENCES incidents (id)
);
CREATE INDEX ix_incidents_repository ON incidents (repository_id, detected_at);
CREATE UNIQUE INDEX uq_incidents_open ON incidents (repository_id, kind, subject) WHERE status IN ('triage', 'active', 'mitigated');
CREATE TABLE readings (
	repository_id BIGINT NOT NULL, 
	began_at TEXT NOT NULL, 
	read_until TEXT NOT NULL, 
	CONSTRAINT pk_readings PRIMARY KEY (repository_id)
);
CREATE TABLE replicas (
	id TEXT NOT NULL, 
	started_at TEXT NOT NULL, 
	beat_at TEXT NOT NULL, 
	taken_over_by TEXT, 
	taken_over_at TEXT, code TEXT, app TEXT, 
	CONSTRAINT pk_replicas PRIMARY KEY (id)
);
CREATE TABLE notifications (
	id TEXT NOT NULL, 
	repository_id BIGINT NOT NULL, 
	incident_id TEXT, 
	audience TEXT NOT NULL, 
	title TEXT NOT NULL, 
	body TEXT NOT NULL, 
	state TEXT NOT NULL, 
	reason TEXT, 
	attempts INTEGER NOT NULL, 
	due_at TEXT NOT NULL, 
	created_at TEXT NOT NULL, 
	settled_at TEXT, delivered JSON DEFAULT '[]' NOT NULL, 
	CONSTRAINT pk_notifications PRIMARY KEY (id), 
	CONSTRAINT fk_notifications_incident_id FOREIGN KEY(incident_id) REFERENCES incidents (id)
);
CREATE INDEX ix_notifications_due ON notifications (state, due_at);
CREATE TABLE runs (
	id TEXT NOT NULL, 
	incident_id TEXT, 
	repository_id BIGINT NOT NULL, 
	playbook TEXT NOT NULL, 
	playbook_version INTEGER NOT NULL, 
	trigger_key TEXT NOT NULL, 
	"trigger" JSON NOT NULL, 
	inputs JSON NOT NULL, 
	plan_digest TEXT, 
	seed TEXT, 
	actor TEXT NOT NULL, 
	dry_run BOOLEAN NOT NULL, 
	state TEXT NOT NULL, 
	reason TEXT, 
	watch_head_sha TEXT, 
	watch_pull_request INTEGER, 
	deadline TEXT, 
	artifact_path TEXT, 
	artifact_sha256 TEXT, 
	created_at TEXT NOT NULL, 
	updated_at TEXT NOT NULL, 
	finished_at TEXT, 
	version INTEGER NOT NULL, standing JSON, joined_incident TEXT, 
	CONSTRAINT pk_runs PRIMARY KEY (id), 
	CONSTRAINT fk_runs_incident_id FOREIGN KEY(incident_id) REFERENCES incidents (id), 
	CONSTRAINT uq_runs_trigger_key UNIQUE (trigger_key)
);
CREATE INDEX ix_runs_incident ON runs (incident_id);
CREATE INDEX ix_runs_watch_head_sha ON runs (repository_id, watch_head_sha) WHERE finished_at IS NULL;
CREATE INDEX ix_runs_watch_pull_request ON runs (repository_id, watch_pull_request) WHERE finished_at IS NULL;
CREATE TABLE steps (
	"key" TEXT NOT NULL, 
	run_id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	reversibility TEXT NOT NULL, 
	compensation TEXT, 
	external_ref TEXT, 
	attempt INTEGER NOT NULL, 
	started_at TEXT NOT NULL, 
	finished_at TEXT, 
	CONSTRAINT pk_steps PRIMARY KEY ("key"), 
	CONSTRAINT ck_steps_ck_steps_undo CHECK (reversibility = 'irreversible' OR compensation IS NOT NULL), 
	CONSTRAINT fk_steps_run_id FOREIGN KEY(run_id) REFERENCES runs (id)
);
CREATE INDEX ix_steps_run ON steps (run_id, started_at);
CREATE TRIGGER audit_entries_no_update BEFORE UPDATE ON audit_entries
    BEGIN SELECT RAISE(ABORT, 'audit entries can only be added'); END;
CREATE TRIGGER audit_entries_no_delete BEFORE DELETE ON audit_entries
    BEGIN SELECT RAISE(ABORT, 'audit entries can only be added'); END;
CREATE TRIGGER audit_entries_no_replace BEFORE INSERT ON audit_entries
    WHEN EXISTS (
        SELECT 1 FROM audit_entries WHERE repository_id = NEW.repository_id
        AND (seq = NEW.seq OR prev_hash = NEW.prev_hash)
    )
    BEGIN SELECT RAISE(ABORT, 'audit entries can only be added'); END;
CREATE TABLE progress (
	run_id TEXT NOT NULL, 
	repository_id BIGINT NOT NULL, 
	document JSON NOT NULL, 
	version INTEGER NOT NULL, 
	updated_at TEXT NOT NULL, 
	CONSTRAINT pk_progress PRIMARY KEY (run_id), 
	CONSTRAINT fk_progress_run_id FOREIGN KEY(run_id) REFERENCES runs (id)
);
CREATE TABLE answers (
	run_id TEXT NOT NULL, 
	repository_id BIGINT NOT NULL, 
	actor TEXT NOT NULL, 
	outcome TEXT NOT NULL, 
	text TEXT NOT NULL, 
	at TEXT NOT NULL, 
	CONSTRAINT pk_answers PRIMARY KEY (run_id)
);
CREATE INDEX ix_answers_at ON answers (at);
CREATE TABLE logins (
	state_hash TEXT NOT NULL, 
	verifier TEXT NOT NULL, 
	back TEXT NOT NULL, 
	expires_at TEXT NOT NULL, 
	CONSTRAINT pk_logins PRIMARY KEY (state_hash)
);
CREATE TABLE sessions (
	token_hash TEXT NOT NULL, 
	login TEXT NOT NULL, 
	csrf TEXT NOT NULL, 
	repositories JSON NOT NULL, 
	roles JSON NOT NULL, 
	read_at TEXT, 
	expires_at TEXT NOT NULL, locked_token TEXT, 
	CONSTRAINT pk_sessions PRIMARY KEY (token_hash)
);
CREATE INDEX ix_incidents_resolved ON incidents (repository_id, resolved_at);
CREATE INDEX ix_incidents_status ON incidents (status, repository_id);
CREATE TABLE servings (
	repository_id BIGINT NOT NULL, 
	generation BIGINT NOT NULL, 
	capability TEXT NOT NULL, 
	attempt TEXT, 
	split JSON NOT NULL, 
	paused TEXT, 
	actor TEXT NOT NULL, 
	why TEXT NOT NULL, 
	at TEXT NOT NULL, 
	CONSTRAINT pk_servings PRIMARY KEY (repository_id, generation)
);
CREATE INDEX ix_servings_capability ON servings (repository_id, capability, generation);
CREATE INDEX ix_servings_attempt ON servings (attempt);
CREATE TABLE flag_documents (
	repository_id BIGINT NOT NULL, 
	generation BIGINT NOT NULL, 
	CONSTRAINT pk_flag_documents PRIMARY KEY (repository_id)
);
CREATE TABLE evidence (
	attempt TEXT NOT NULL, 
	run_id TEXT NOT NULL, 
	repository_id BIGINT NOT NULL, 
	capability TEXT NOT NULL, 
	mode TEXT NOT NULL, 
	policy TEXT NOT NULL, 
	frozen TEXT, 
	source TEXT, 
	phase INTEGER NOT NULL, 
	entered_at TEXT NOT NULL, 
	seq INTEGER NOT NULL, 
	digest TEXT NOT NULL, 
	opened_at TEXT NOT NULL, 
	seen_at TEXT, 
	closed_at TEXT, 
	closed_seq INTEGER, 
	breach JSON, 
	CONSTRAINT pk_evidence PRIMARY KEY (attempt)
);
CREATE UNIQUE INDEX uq_evidence_open ON evidence (repository_id, capability) WHERE closed_at IS NULL;
CREATE TABLE evidence_entries (
	attempt TEXT NOT NULL, 
	seq INTEGER NOT NULL, 
	kind TEXT NOT NULL, 
	at TEXT NOT NULL, 
	content BLOB NOT NULL, 
	digest TEXT NOT NULL, 
	CONSTRAINT pk_evidence_entries PRIMARY KEY (attempt, seq), 
	CONSTRAINT fk_evidence_entries_attempt FOREIGN KEY(attempt) REFERENCES evidence (attempt)
);
CREATE TABLE evidence_checkpoints (
	attempt TEXT NOT NULL, 
	seq INTEGER NOT NULL, 
	content BLOB NOT NULL, 
	CONSTRAINT pk_evidence_checkpoints PRIMARY KEY (attempt), 
	CONSTRAINT fk_evidence_checkpoints_attempt FOREIGN KEY(attempt) REFERENCES evidence (attempt)
);
CREATE TABLE observed_events (
	repository_id BIGINT NOT NULL, 
	event BLOB NOT NULL, 
	expires BIGINT NOT NULL, 
	CONSTRAINT pk_observed_events PRIMARY KEY (repository_id, event)
)
 WITHOUT ROWID

;
CREATE INDEX ix_observed_events_expires ON observed_events (expires);
CREATE TABLE pauses (
	id TEXT NOT NULL, 
	repository_id BIGINT NOT NULL, 
	scope TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	state TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	set_by TEXT NOT NULL, 
	since TEXT NOT NULL, 
	incident_id TEXT, 
	green_since TEXT, 
	canary INTEGER, 
	canary_merged TEXT, 
	lifted_by TEXT, 
	lifted_at TEXT, 
	lifted_because TEXT, 
	version INTEGER NOT NULL, 
	CONSTRAINT pk_pauses PRIMARY KEY (id)
);
CREATE UNIQUE INDEX uq_pauses_in_force ON pauses (repository_id, scope) WHERE state != 'lifted';
CREATE TABLE self_work (
	repository_id BIGINT NOT NULL, 
	number INTEGER NOT NULL, 
	why TEXT NOT NULL, 
	seen_at TEXT NOT NULL, 
	CONSTRAINT pk_self_work PRIMARY KEY (repository_id, number)
);
CREATE TABLE exemptions (
	repository_id BIGINT NOT NULL, 
	number INTEGER NOT NULL, 
	head_sha TEXT NOT NULL, 
	pause_id TEXT NOT NULL, 
	"by" TEXT NOT NULL, 
	at TEXT NOT NULL, 
	CONSTRAINT pk_exemptions PRIMARY KEY (repository_id, number, head_sha, pause_id)
);
CREATE TABLE gate_reports (
	repository_id BIGINT NOT NULL, 
	head_sha TEXT NOT NULL, 
	number INTEGER, 
	merge_group TEXT, 
	conclusion TEXT NOT NULL, 
	said TEXT NOT NULL, 
	check_run BIGINT NOT NULL, 
	first_at TEXT NOT NULL, config_at TEXT, config_digest TEXT, 
	CONSTRAINT pk_gate_reports PRIMARY KEY (repository_id, head_sha)
);
CREATE INDEX ix_gate_reports_number ON gate_reports (repository_id, number);
CREATE TABLE budget_windows (
	repository_id BIGINT NOT NULL, 
	name TEXT NOT NULL, 
	began_at TEXT NOT NULL, 
	reserved BIGINT NOT NULL, 
	spent BIGINT NOT NULL, 
	CONSTRAINT pk_budget_windows PRIMARY KEY (repository_id, name, began_at), 
	CONSTRAINT ck_budget_windows_ck_budget_windows_amounts CHECK (reserved >= 0 AND spent >= 0)
);
CREATE TABLE budget_entries (
	repository_id BIGINT NOT NULL, 
	name TEXT NOT NULL, 
	"key" TEXT NOT NULL, 
	began_at TEXT NOT NULL, 
	reserved BIGINT NOT NULL, 
	spent BIGINT, 
	attributed_to TEXT, 
	at TEXT NOT NULL, 
	CONSTRAINT pk_budget_entries PRIMARY KEY (repository_id, name, "key")
);
CREATE TABLE approvals (
	id TEXT NOT NULL, 
	run_id TEXT NOT NULL, 
	repository_id BIGINT NOT NULL, 
	"of" TEXT NOT NULL, 
	"commit" TEXT NOT NULL, 
	plan_digest TEXT NOT NULL, 
	requested_by TEXT NOT NULL, 
	asked_at TEXT NOT NULL, 
	expires_at TEXT NOT NULL, 
	state TEXT NOT NULL, 
	decided_by TEXT, 
	decided_at TEXT, 
	CONSTRAINT pk_approvals PRIMARY KEY (id)
);
CREATE INDEX ix_approvals_run ON approvals (run_id);
CREATE TABLE sensitive_config (
	repository_id BIGINT NOT NULL, 
	digest TEXT NOT NULL, 
	sections JSON NOT NULL, 
	approved_by TEXT NOT NULL, 
	approved_at TEXT NOT NULL, 
	in_force_at TEXT, 
	CONSTRAINT pk_sensitive_config PRIMARY KEY (repository_id, digest)
);
CREATE TABLE trials (
	run_id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	repository_id BIGINT NOT NULL, 
	begun_at TEXT NOT NULL, 
	ended_at TEXT, 
	CONSTRAINT pk_trials PRIMARY KEY (run_id, name), 
	CONSTRAINT fk_trials_run_id FOREIGN KEY(run_id) REFERENCES runs (id)
);
CREATE INDEX ix_trials_repository ON trials (repository_id, begun_at);
CREATE TABLE alert_groups (
	id TEXT NOT NULL, 
	repository_id BIGINT NOT NULL, 
	source TEXT NOT NULL, 
	group_key TEXT NOT NULL, 
	title TEXT NOT NULL, 
	episode INTEGER NOT NULL, 
	followed BOOLEAN NOT NULL, 
	unseen BOOLEAN NOT NULL, 
	received INTEGER NOT NULL, 
	run TEXT NOT NULL, 
	CONSTRAINT pk_alert_groups PRIMARY KEY (id)
);
CREATE TABLE alert_conditions (
	group_id TEXT NOT NULL, 
	fingerprint TEXT NOT NULL, 
	at TEXT NOT NULL, 
	firing BOOLEAN NOT NULL, 
	said JSON NOT NULL, heard_at TEXT, 
	CONSTRAINT pk_alert_conditions PRIMARY KEY (group_id, fingerprint), 
	CONSTRAINT fk_alert_conditions_group_id FOREIGN KEY(group_id) REFERENCES alert_groups (id)
);
CREATE TABLE alert_events (
	repository_id BIGINT NOT NULL, 
	"key" TEXT NOT NULL, 
	received_at TEXT NOT NULL, 
	CONSTRAINT pk_alert_events PRIMARY KEY (repository_id, "key")
);
CREATE TABLE config_questions (
	repository_id BIGINT NOT NULL, 
	number INTEGER NOT NULL, 
	digest TEXT NOT NULL, 
	sections JSON NOT NULL, 
	asked_by TEXT NOT NULL, 
	asked_at TEXT NOT NULL, commit_sha TEXT DEFAULT '' NOT NULL, fault TEXT DEFAULT '' NOT NULL, 
	CONSTRAINT pk_config_questions PRIMARY KEY (repository_id, number)
);
CREATE TABLE talk (
	repository_id BIGINT NOT NULL, 
	subject BIGINT NOT NULL, 
	scope TEXT NOT NULL, 
	run_id TEXT NOT NULL, 
	at TEXT NOT NULL, 
	CONSTRAINT pk_talk PRIMARY KEY (repository_id, subject, scope)
);
CREATE INDEX ix_talk_at ON talk (at);
CREATE INDEX ix_runs_joined_incident ON runs (joined_incident);
CREATE TABLE signing_keys (
	name TEXT NOT NULL, 
	public_pem TEXT NOT NULL, 
	private_pem TEXT, 
	since TEXT NOT NULL, 
	CONSTRAINT pk_signing_keys PRIMARY KEY (name)
);
CREATE TABLE record_files (
	repository_id BIGINT NOT NULL, 
	path TEXT NOT NULL, 
	incident_id TEXT NOT NULL, 
	content TEXT NOT NULL, 
	blob TEXT NOT NULL, 
	former_blob TEXT, 
	is_written BOOLEAN NOT NULL, 
	kept_at TEXT NOT NULL, 
	CONSTRAINT pk_record_files PRIMARY KEY (repository_id, path)
);
CREATE TABLE record_anchors (
	repository_id BIGINT NOT NULL, 
	line TEXT NOT NULL, 
	seq BIGINT NOT NULL, 
	is_written BOOLEAN NOT NULL, 
	CONSTRAINT pk_record_anchors PRIMARY KEY (repository_id, line)
);
CREATE TABLE record_looks (
	repository_id BIGINT NOT NULL, 
	head TEXT, 
	told_of TEXT, 
	CONSTRAINT pk_record_looks PRIMARY KEY (repository_id)
);
CREATE TABLE api_tokens (
	sha256 TEXT NOT NULL, 
	name TEXT NOT NULL, 
	role TEXT NOT NULL, 
	reaches TEXT NOT NULL, 
	created_at TEXT NOT NULL, 
	revoked_at TEXT, 
	CONSTRAINT pk_api_tokens PRIMARY KEY (sha256)
);
CREATE TABLE github_answers (
	about TEXT NOT NULL, 
	said JSON NOT NULL, 
	at TEXT NOT NULL, 
	CONSTRAINT pk_github_answers PRIMARY KEY (about)
);
CREATE INDEX ix_budget_entries_key ON budget_entries ("key");
INSERT INTO "alembic_version" VALUES('0009');
INSERT INTO "schema_version" VALUES('0021');
