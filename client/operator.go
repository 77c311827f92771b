package client

import (
	"context"
	"io"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
)

// Status is the server's condition.
type Status struct {
	Initialised    bool        `json:"initialised"`
	Sealed         bool        `json:"sealed"`
	Development    bool        `json:"development,omitempty"`
	ClusterID      string      `json:"cluster_id,omitempty"`
	Recipients     []Recipient `json:"recipients,omitempty"`
	Threshold      uint32      `json:"threshold,omitempty"`    // shares that open the root key; 0: there is no share recipient
	SharesGiven    []uint32    `json:"shares_given,omitempty"` // numbers of the shares given so far
	RootGeneration uint32      `json:"root_generation,omitempty"`
	Ready          bool        `json:"ready"`
	Problem        string      `json:"problem,omitempty"` // why it is not ready
	ProblemCode    string      `json:"problem_code,omitempty"`
	AuditKey       string      `json:"audit_key,omitempty"`
	Epoch          uint32      `json:"epoch,omitempty"`
	Clock          Clock       `json:"clock,omitzero"` // zero: dates go by the machine's clock
	AuditSinks     []AuditSink `json:"audit_sinks,omitempty"`
	Witnesses      []Witness   `json:"witnesses,omitempty"` // of the audit log
	Memory         Memory      `json:"memory,omitzero"`

	RotationsMissed uint64 `json:"rotations_missed,omitempty"` // scheduled rotations that are more than an hour late
	RotationsFailed uint64 `json:"rotations_failed,omitempty"` // scheduled rotations that failed and are tried again
}

// Memory is how the server keeps secrets in memory.
type Memory struct {
	Kind    string `json:"kind"`              // of the root key and the keys below it: memfd_secret, mlock or none
	Full    uint64 `json:"full,omitempty"`    // secrets that found no place since the start, and live on the heap
	Erasing bool   `json:"erasing,omitempty"` // what short-lived material leaves on stack and heap is erased
}

// Clock is how the time by which dates take effect stands to the machine's clock.
type Clock struct {
	Time                 time.Time `json:"time,omitzero"`            // by which dates take effect
	Machine              time.Time `json:"machine,omitzero"`         // what the machine's clock says
	Trusted              time.Time `json:"trusted,omitzero"`         // the high-water mark: what is destroyed by date goes by it
	BehindSeconds        float64   `json:"behind_seconds,omitempty"` // by how much the machine's clock is behind the mark
	DestructionSuspended bool      `json:"destruction_suspended,omitempty"`
}

// Recipient is one way to open the root key.
type Recipient struct {
	ID          string `json:"id"`
	Kind        string `json:"kind"`
	Label       string `json:"label,omitempty"`
	Fingerprint string `json:"fingerprint,omitempty"`
}

// Status answers the server's condition. It needs no credential; with one, or on the local socket, it tells more.
func (c *Client) Status(ctx context.Context, options ...Option) (Status, error) {
	res, err := invoke(ctx, c, c.operator.GetStatus, &keyholdv1.GetStatusRequest{}, reads, options)
	return toStatus(res.GetStatus()), err
}

// InitInput initialises an empty store.
type InitInput struct {
	Shares     uint32 // custodian shares, 2 to 255
	Threshold  uint32 // how many of them open the root key
	Passphrase []byte // a further recipient; empty: none
	KeyFile    []byte // the 32-byte seed of a further recipient; empty: none
}

// InitOutput is shown this once.
type InitOutput struct {
	ClusterID  string     `json:"cluster_id"`
	Shares     []string   `json:"shares"` // one for each custodian
	Enrollment Enrollment `json:"enrollment"`
	AuditKey   string     `json:"audit_key"` // pin it
}

// Enrollment is a one-time code with which an administrator enrols.
type Enrollment struct {
	Code      string    `json:"code"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}

// Init makes the root key. Only on the server's local socket (unix:///path). It is never repeated.
func (c *Client) Init(ctx context.Context, in InitInput, options ...Option) (InitOutput, error) {
	res, err := invoke(ctx, c, c.operator.Init, &keyholdv1.InitRequest{
		Shares: in.Shares, Threshold: in.Threshold, Passphrase: in.Passphrase, KeyFile: in.KeyFile,
	}, once, options)
	return InitOutput{ClusterID: res.GetClusterId(), Shares: res.GetShares(), Enrollment: toEnrollment(res.GetEnrollment()), AuditKey: res.GetAuditKey()}, err
}

// UnsealShare gives one custodian share.
func (c *Client) UnsealShare(ctx context.Context, share string, options ...Option) (Status, error) {
	return c.unseal(ctx, &keyholdv1.UnsealRequest{Step: &keyholdv1.UnsealRequest_Share{Share: share}}, options)
}

// UnsealPassphrase opens the root key with a passphrase.
func (c *Client) UnsealPassphrase(ctx context.Context, passphrase []byte, options ...Option) (Status, error) {
	return c.unseal(ctx, &keyholdv1.UnsealRequest{Step: &keyholdv1.UnsealRequest_Passphrase{Passphrase: passphrase}}, options)
}

// UnsealKeyFile opens the root key with the seed of a key file.
func (c *Client) UnsealKeyFile(ctx context.Context, seed []byte, options ...Option) (Status, error) {
	return c.unseal(ctx, &keyholdv1.UnsealRequest{Step: &keyholdv1.UnsealRequest_KeyFile{KeyFile: seed}}, options)
}

// UnsealReset forgets the shares given so far.
func (c *Client) UnsealReset(ctx context.Context, options ...Option) (Status, error) {
	return c.unseal(ctx, &keyholdv1.UnsealRequest{Step: &keyholdv1.UnsealRequest_Reset_{Reset_: true}}, options)
}

func (c *Client) unseal(ctx context.Context, req *keyholdv1.UnsealRequest, options []Option) (Status, error) {
	res, err := invoke(ctx, c, c.operator.Unseal, req, once, options)
	return toStatus(res.GetStatus()), err
}

// Seal erases the root key from the server's memory. Nothing works until it is unsealed.
func (c *Client) Seal(ctx context.Context, options ...Option) (Status, error) {
	res, err := invoke(ctx, c, c.operator.Seal, &keyholdv1.SealRequest{}, once, options)
	return toStatus(res.GetStatus()), err
}

// ClockConfirmed says what ConfirmClock confirmed.
type ClockConfirmed struct {
	From   time.Time `json:"from,omitzero"`
	To     time.Time `json:"to,omitzero"` // zero: there was nothing to confirm
	Status Status    `json:"status"`
}

// ConfirmClock is an operator's word that the server's clock is right after it jumped ahead. It is compared with now, the
// operator's own clock, unless that is zero: CodeClock (KH1408) if they are more than five minutes apart.
func (c *Client) ConfirmClock(ctx context.Context, now time.Time, options ...Option) (ClockConfirmed, error) {
	req := &keyholdv1.ConfirmClockRequest{}
	if !now.IsZero() {
		req.Time = timestamppb.New(now)
	}
	res, err := invoke(ctx, c, c.operator.ConfirmClock, req, changes, options)
	return ClockConfirmed{From: timeOf(res.GetFrom()), To: timeOf(res.GetTo()), Status: toStatus(res.GetStatus())}, err
}

// Enroll redeems a one-time code for an administrator's token. An empty name is "admin". It is never repeated.
func (c *Client) Enroll(ctx context.Context, code, principal string, options ...Option) (NewToken, error) {
	res, err := invoke(ctx, c, c.operator.Enroll, &keyholdv1.EnrollRequest{Code: code, Principal: principal}, once, options)
	return NewToken{Secret: res.GetSecret(), Token: toToken(res.GetToken())}, err
}

// MintEnrollment makes another one-time code with a quorum of shares. Only on the server's local socket. It is never repeated.
func (c *Client) MintEnrollment(ctx context.Context, shares []string, options ...Option) (Enrollment, error) {
	res, err := invoke(ctx, c, c.operator.MintEnrollment, &keyholdv1.MintEnrollmentRequest{Shares: shares}, once, options)
	return toEnrollment(res.GetEnrollment()), err
}

// Export writes an ordinary backup of the store to w and answers the revision it holds. Unless the error is nil, what
// was written is cut short. The client's Timeout does not apply.
func (c *Client) Export(ctx context.Context, w io.Writer, options ...Option) (revision uint64, err error) {
	req := connect.NewRequest(&keyholdv1.ExportRequest{})
	if err := c.head(ctx, req.Header(), c.settings(once, options)); err != nil {
		return 0, err
	}
	stream, err := c.operator.Export(ctx, req)
	if err != nil {
		return 0, errorOf(ctx, err)
	}
	defer stream.Close() //nolint:errcheck // nothing is left to be learned from it
	complete := false
	for stream.Receive() {
		switch part := stream.Msg().GetPart().(type) {
		case *keyholdv1.ExportResponse_Data:
			if _, err := w.Write(part.Data); err != nil {
				return 0, err
			}
		case *keyholdv1.ExportResponse_Revision:
			revision, complete = part.Revision, true
		}
	}
	if err := stream.Err(); err != nil {
		return 0, errorOf(ctx, err)
	}
	if !complete {
		return 0, &Error{Code: CodeUnreachable, Title: "server unreachable", What: "the export was cut short", Next: "delete what was written and export again", Retryable: true}
	}
	return revision, nil
}

// patient is the same client without the time limit of its own: for work that takes as long as the store is large.
func (c *Client) patient() *Client {
	other := *c
	other.timeout = -1
	return &other
}

// RollEpoch starts a new shred epoch. The client's Timeout does not apply.
func (c *Client) RollEpoch(ctx context.Context, options ...Option) ([]Job, error) {
	res, err := invoke(ctx, c.patient(), c.admin.RollEpoch, &keyholdv1.RollEpochRequest{}, changes, options)
	return each(res.GetJobs(), toJob), err
}

// RotateRoot makes a new root key and seals it to the same recipients. The client's Timeout does not apply.
func (c *Client) RotateRoot(ctx context.Context, options ...Option) (Status, error) {
	res, err := invoke(ctx, c.patient(), c.admin.RotateRoot, &keyholdv1.RotateRootRequest{}, changes, options)
	return toStatus(res.GetStatus()), err
}

// Job is one piece of scheduled or long-running work.
type Job struct {
	Name    string    `json:"name"`
	State   string    `json:"state"` // "idle", "running", "failed" or "suspended"; "due" of what waits for its date
	Done    uint64    `json:"done"`
	Total   uint64    `json:"total"`
	LastRun time.Time `json:"last_run,omitzero"`
	NextRun time.Time `json:"next_run,omitzero"`
	Note    string    `json:"note,omitempty"`

	// Of what is due by a date.
	Namespace string    `json:"namespace,omitempty"`
	KeyID     string    `json:"key_id,omitempty"`
	Version   uint32    `json:"version,omitempty"`
	Due       time.Time `json:"due,omitzero"`       // when it was to be done first
	Attempts  uint32    `json:"attempts,omitempty"` // that failed
}

// ListJobs answers the server's work: the standing jobs, then at most due pieces of what is due by a date (0: 20).
func (c *Client) ListJobs(ctx context.Context, due uint32, options ...Option) ([]Job, error) {
	res, err := invoke(ctx, c, c.admin.ListJobs, &keyholdv1.ListJobsRequest{Due: due}, reads, options)
	return each(res.GetJobs(), toJob), err
}

// StoreReport is the finding of a walk over every record and key.
type StoreReport struct {
	Records      uint64   `json:"records"`
	Keys         uint64   `json:"keys"`
	Versions     uint64   `json:"versions"`
	Damaged      []string `json:"damaged,omitempty"` // at most 100
	DamagedCount uint64   `json:"damaged_count"`
}

// CheckStore opens every record and loads every key, and names what is damaged. The client's Timeout does not
// apply.
func (c *Client) CheckStore(ctx context.Context, options ...Option) (StoreReport, error) {
	r, err := invoke(ctx, c.patient(), c.admin.CheckStore, &keyholdv1.CheckStoreRequest{}, reads, options)
	return StoreReport{Records: r.GetRecords(), Keys: r.GetKeys(), Versions: r.GetVersions(), Damaged: r.GetDamaged(), DamagedCount: r.GetDamagedCount()}, err
}

func toStatus(s *keyholdv1.ServerStatus) Status {
	k := s.GetClock()
	return Status{
		Clock: Clock{Time: timeOf(k.GetTime()), Machine: timeOf(k.GetMachine()), Trusted: timeOf(k.GetTrusted()), BehindSeconds: k.GetBehind().AsDuration().Seconds(),
			DestructionSuspended: k.GetDestructionSuspended()},
		Initialised: s.GetInitialised(), Sealed: s.GetSealed(), Development: s.GetDevelopment(), ClusterID: s.GetClusterId(),
		Threshold: s.GetThreshold(), SharesGiven: s.GetSharesGiven(), RootGeneration: s.GetRootGeneration(), Ready: s.GetReady(),
		Problem: s.GetProblem().GetWhat(), ProblemCode: s.GetProblem().GetCode(), AuditKey: s.GetAuditKey(), Epoch: s.GetEpoch(),
		Recipients: each(s.GetRecipients(), func(r *keyholdv1.Recipient) Recipient {
			return Recipient{ID: r.GetId(), Kind: r.GetKind(), Label: r.GetLabel(), Fingerprint: r.GetFingerprint()}
		}),
		AuditSinks:      each(s.GetAuditSinks(), toSink),
		Witnesses:       each(s.GetWitnesses(), toWitness),
		RotationsMissed: s.GetRotationsMissed(), RotationsFailed: s.GetRotationsFailed(),
		Memory: Memory{Kind: s.GetMemory().GetKind(), Full: s.GetMemory().GetFull(), Erasing: s.GetMemory().GetErasing()},
	}
}

func toEnrollment(e *keyholdv1.Enrollment) Enrollment {
	return Enrollment{Code: e.GetCode(), ExpiresAt: timeOf(e.GetExpiresAt())}
}

func toJob(j *keyholdv1.Job) Job {
	return Job{Name: j.GetName(), State: j.GetState(), Done: j.GetDone(), Total: j.GetTotal(), LastRun: timeOf(j.GetLastRun()), NextRun: timeOf(j.GetNextRun()), Note: j.GetNote(),
		Namespace: j.GetNamespace(), KeyID: j.GetKeyId(), Version: j.GetVersion(), Due: timeOf(j.GetDue()), Attempts: j.GetAttempts()}
}
