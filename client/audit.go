package client

import (
	"context"
	"iter"
	"time"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
)

// AuditRecord is what happened, once. docs/formats.md describes its fields.
type AuditRecord struct {
	Position       string        `json:"position"` // also the id of a decision
	ID             string        `json:"id"`
	Time           time.Time     `json:"time"`
	Action         string        `json:"action"`
	Outcome        string        `json:"outcome"`
	Code           string        `json:"code,omitempty"`
	Dialect        string        `json:"dialect"`
	Method         string        `json:"method"`
	Principal      string        `json:"principal,omitempty"`
	PrincipalAlias []byte        `json:"principal_alias,omitempty"`
	Home           string        `json:"home,omitempty"`
	Credential     string        `json:"credential,omitempty"`
	Remote         string        `json:"remote,omitempty"`
	Namespace      string        `json:"namespace"`
	Keys           []AuditKeyUse `json:"keys,omitempty"`
	Resource       string        `json:"resource,omitempty"`
	Scheme         string        `json:"scheme,omitempty"`
	RequestID      string        `json:"request_id,omitempty"`
	PolicyRevision uint64        `json:"policy_revision,omitempty"`
	Policies       []string      `json:"policies,omitempty"`
	ContextDigest  []byte        `json:"context_digest,omitempty"`
	Items          []AuditItem   `json:"items,omitempty"`
	// ItemVersions tells which items of a batch used which version of the first key: runs of all items, in order. Empty: all of them used the
	// version that the key has here.
	ItemVersions []AuditVersionRun `json:"item_versions,omitempty"`
	Bytes        uint64            `json:"bytes,omitempty"`
	Reason       string            `json:"reason,omitempty"`
	Detail       string            `json:"detail,omitempty"`
	Change       bool              `json:"change,omitempty"`
	Erased       bool              `json:"erased,omitempty"`
	Approval     string            `json:"approval,omitempty"`  // id of the request for approval under which the change was made
	Approvers    [][]byte          `json:"approvers,omitempty"` // keyed hashes of the names of who approved it
}

// AuditKeyUse names a key version that an operation touched.
type AuditKeyUse struct {
	KeyID    string `json:"key_id"`
	Version  uint32 `json:"version,omitempty"`
	Revision uint64 `json:"revision,omitempty"`
}

// AuditItem is the outcome of one item of a batch.
type AuditItem struct {
	Code  string `json:"code,omitempty"` // empty: success
	Bytes uint32 `json:"bytes"`
}

// AuditVersionRun is a number of consecutive items of a batch that used the same version of a key.
type AuditVersionRun struct {
	Items   uint32 `json:"items"`
	Version uint32 `json:"version,omitempty"` // 0: none was reached
}

// AuditFilter selects records; zero fields select all.
type AuditFilter struct {
	Principal      string
	PrincipalAlias []byte // keyed hash of the principal, as records have it; it remains when the name is erased
	Action         string
	KeyID          string
	Key            string // id, name or alias/NAME
	Outcome        string
	Code           string // for example KH1201
	Dialect        string // native, aws, vault, …
	Namespace      string // in the system namespace: only records of this one
	Resource       string // a policy, token, namespace, …
	RequestID      string
	Since          time.Time
	Until          time.Time
	ChangesOnly    bool
}

// ListRecords goes through the audit records of the namespace, newest first.
func (c *Client) ListRecords(ctx context.Context, f AuditFilter, options ...Option) iter.Seq2[AuditRecord, error] {
	return pages(func(token string) ([]AuditRecord, string, error) {
		res, err := invoke(ctx, c, c.audit.ListRecords, &keyholdv1.ListRecordsRequest{
			Principal: f.Principal, Action: f.Action, KeyId: f.KeyID, Outcome: f.Outcome, RequestId: f.RequestID,
			Since: stamp(f.Since), Until: stamp(f.Until), ChangesOnly: f.ChangesOnly, PageToken: token,
			PrincipalAlias: f.PrincipalAlias, Key: f.Key, Code: f.Code, Dialect: f.Dialect, Namespace: f.Namespace, Resource: f.Resource,
		}, reads, options)
		return each(res.GetRecords(), toRecord), res.GetNextPageToken(), err
	})
}

// Proof is what keyhold-verify checks offline.
type Proof struct {
	Bundle      []byte `json:"bundle"`
	VerifierKey string `json:"verifier_key"` // compare it with the one you pinned
}

// ProveRecord answers a proof bundle for the record at a position.
func (c *Client) ProveRecord(ctx context.Context, position string, options ...Option) (Proof, error) {
	res, err := invoke(ctx, c, c.audit.ProveRecord, &keyholdv1.ProveRecordRequest{Position: position}, reads, options)
	return Proof{Bundle: res.GetBundle(), VerifierKey: res.GetVerifierKey()}, err
}

// Checkpoint is a signed note that commits to the whole log.
type Checkpoint struct {
	Note        []byte `json:"checkpoint"`          // with the cosignatures of witnesses that it has
	Witnessed   []byte `json:"witnessed,omitempty"` // the newest that a quorum of the configured witnesses cosigned; empty: none
	VerifierKey string `json:"verifier_key"`        // compare it with the one you pinned
}

// GetCheckpoint answers the newest checkpoint of the log.
func (c *Client) GetCheckpoint(ctx context.Context, options ...Option) (Checkpoint, error) {
	res, err := invoke(ctx, c, c.audit.GetCheckpoint, &keyholdv1.GetCheckpointRequest{}, reads, options)
	return Checkpoint{Note: res.GetCheckpoint(), Witnessed: res.GetWitnessed(), VerifierKey: res.GetVerifierKey()}, err
}

// CheckpointName names a checkpoint by its first two lines.
type CheckpointName struct {
	Origin string // keyhold.CLUSTER/NODE/EPOCH
	Size   uint64 // 0: the newest of the origin
}

// ConsistencyInput names an earlier checkpoint, by itself or by its name, and a later one.
type ConsistencyInput struct {
	Checkpoint []byte         // the earlier one: the signed note, whole
	From       CheckpointName // the earlier one, if Checkpoint is empty
	To         CheckpointName // zero: the newest
}

// ProveConsistency answers a proof that the log at a later checkpoint contains everything that it held at an earlier one. keyhold-verify checks it
// offline.
func (c *Client) ProveConsistency(ctx context.Context, in ConsistencyInput, options ...Option) (Proof, error) {
	name := func(n CheckpointName) *keyholdv1.CheckpointName {
		if n == (CheckpointName{}) {
			return nil
		}
		return &keyholdv1.CheckpointName{Origin: n.Origin, Size: n.Size}
	}
	res, err := invoke(ctx, c, c.audit.ProveConsistency, &keyholdv1.ProveConsistencyRequest{Checkpoint: in.Checkpoint, From: name(in.From), To: name(in.To)}, reads, options)
	return Proof{Bundle: res.GetBundle(), VerifierKey: res.GetVerifierKey()}, err
}

func toRecord(r *keyholdv1.AuditRecord) AuditRecord {
	return AuditRecord{
		Position: r.GetPosition(), ID: r.GetId(), Time: timeOf(r.GetTime()), Action: r.GetAction(), Outcome: r.GetOutcome(), Code: r.GetCode(),
		Dialect: r.GetDialect(), Method: r.GetMethod(), Principal: r.GetPrincipal(), PrincipalAlias: r.GetPrincipalAlias(), Home: r.GetHome(),
		Credential: r.GetCredential(), Remote: r.GetRemote(), Namespace: r.GetNamespace(), Resource: r.GetResource(), Scheme: r.GetScheme(),
		RequestID: r.GetRequestId(), PolicyRevision: r.GetPolicyRevision(), Policies: r.GetPolicies(), ContextDigest: r.GetContextDigest(),
		Bytes: r.GetBytes(), Reason: r.GetReason(), Detail: r.GetDetail(), Change: r.GetChange(), Erased: r.GetErased(), Approval: r.GetApproval(), Approvers: r.GetApprovers(),
		Keys: each(r.GetKeys(), func(k *keyholdv1.AuditKeyUse) AuditKeyUse {
			return AuditKeyUse{KeyID: k.GetKeyId(), Version: k.GetVersion(), Revision: k.GetRevision()}
		}),
		Items: each(r.GetItems(), func(i *keyholdv1.AuditItem) AuditItem { return AuditItem{Code: i.GetCode(), Bytes: i.GetBytes()} }),
		ItemVersions: each(r.GetItemVersions(), func(v *keyholdv1.AuditVersionRun) AuditVersionRun {
			return AuditVersionRun{Items: v.GetItems(), Version: v.GetVersion()}
		}),
	}
}
