package client

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
)

// Destruction is how the destruction of a key or namespace stands. Its JSON form is stable.
type Destruction struct {
	State           string    `json:"state"` // "scheduled", "erased" or "irrecoverable"
	Namespace       string    `json:"namespace"`
	KeyID           string    `json:"key_id,omitempty"` // empty: of the namespace
	Name            string    `json:"name,omitempty"`   // of the key
	RequestedAt     time.Time `json:"requested_at,omitzero"`
	RequestedBy     string    `json:"requested_by,omitempty"`
	Reason          string    `json:"reason,omitempty"`
	Approval        string    `json:"approval,omitempty"`
	ApprovedBy      []string  `json:"approved_by,omitempty"`
	DestroyAt       time.Time `json:"destroy_at,omitzero"`
	ErasedAt        time.Time `json:"erased_at,omitzero"`
	LastEpoch       uint32    `json:"last_epoch,omitempty"` // under which its shred secrets can have been
	IrrecoverableAt time.Time `json:"irrecoverable_at,omitzero"`
	Keys            uint64    `json:"keys,omitempty"` // of a namespace, when its destruction was asked for
	DataKeys        uint64    `json:"data_keys,omitempty"`
	Principals      uint64    `json:"principals,omitempty"`
}

// Receipt is a destruction and its signed receipt, which keyhold-verify checks offline.
type Receipt struct {
	Destruction Destruction `json:"destruction"`
	Note        []byte      `json:"note,omitempty"` // empty before it is irrecoverable
	VerifierKey string      `json:"verifier_key"`   // compare it with the one that you pinned
}

// ReadReceipt answers how the destruction of a key stands, and its receipt.
func (c *Client) ReadReceipt(ctx context.Context, key string, options ...Option) (Receipt, error) {
	return c.readReceipt(ctx, &keyholdv1.ReadReceiptRequest{Key: key}, options)
}

// ReadNamespaceReceipt answers how the destruction of a namespace stands, and its receipt.
func (c *Client) ReadNamespaceReceipt(ctx context.Context, namespace string, options ...Option) (Receipt, error) {
	return c.readReceipt(ctx, &keyholdv1.ReadReceiptRequest{Namespace: namespace}, options)
}

func (c *Client) readReceipt(ctx context.Context, req *keyholdv1.ReadReceiptRequest, options []Option) (Receipt, error) {
	res, err := invoke(ctx, c, c.destruction.ReadReceipt, req, reads, options)
	d := res.GetDestruction()
	return Receipt{
		Destruction: Destruction{
			State: d.GetState(), Namespace: d.GetNamespace(), KeyID: d.GetKeyId(), Name: d.GetName(), RequestedAt: timeOf(d.GetRequestedAt()),
			RequestedBy: d.GetRequestedBy(), Reason: d.GetReason(), Approval: d.GetApproval(), ApprovedBy: d.GetApprovedBy(), DestroyAt: timeOf(d.GetDestroyAt()),
			ErasedAt: timeOf(d.GetErasedAt()), LastEpoch: d.GetLastEpoch(), IrrecoverableAt: timeOf(d.GetIrrecoverableAt()),
			Keys: d.GetKeys(), DataKeys: d.GetDataKeys(), Principals: d.GetPrincipals(),
		},
		Note: res.GetNote(), VerifierKey: res.GetVerifierKey(),
	}, err
}

// NamespaceDestruction is a namespace that will be destroyed, and what that reaches.
type NamespaceDestruction struct {
	Namespace  NamespaceInfo `json:"namespace"`
	Keys       uint64        `json:"keys"`
	DataKeys   uint64        `json:"data_keys"` // that are managed
	Principals uint64        `json:"principals"`
	More       bool          `json:"more,omitempty"` // there are more than were counted
}

// ScheduleNamespaceDestruction starts the waiting time after which a namespace is destroyed with all its keys. 0 stands for 30 days.
func (c *Client) ScheduleNamespaceDestruction(ctx context.Context, name string, window time.Duration, options ...Option) (NamespaceDestruction, error) {
	req := &keyholdv1.ScheduleNamespaceDestructionRequest{Name: name}
	if window != 0 {
		req.Window = durationpb.New(window)
	}
	res, err := invoke(ctx, c, c.destruction.ScheduleNamespaceDestruction, req, changes, options)
	return NamespaceDestruction{
		Namespace: toNamespace(res.GetNamespace()), Keys: res.GetKeys(), DataKeys: res.GetDataKeys(), Principals: res.GetPrincipals(), More: res.GetMore(),
	}, err
}

// CancelNamespaceDestruction saves a namespace whose destruction is pending.
func (c *Client) CancelNamespaceDestruction(ctx context.Context, name string, options ...Option) (NamespaceInfo, error) {
	res, err := invoke(ctx, c, c.destruction.CancelNamespaceDestruction, &keyholdv1.CancelNamespaceDestructionRequest{Name: name}, changes, options)
	return toNamespace(res.GetNamespace()), err
}
