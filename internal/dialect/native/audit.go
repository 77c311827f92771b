package native

import (
	"context"
	"slices"

	"connectrpc.com/connect"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// auditService is keyhold.v1.AuditService.
type auditService struct{ engine *engine.Engine }

func (s auditService) ListRecords(ctx context.Context, r *connect.Request[keyholdv1.ListRecordsRequest]) (*connect.Response[keyholdv1.ListRecordsResponse], error) {
	in := engine.AuditListInput{Page: r.Msg.GetPageToken(), Limit: int(r.Msg.GetPageSize())}
	if err := recordFilter(&in, r.Msg); err != nil {
		return nil, err
	}
	out, err := s.engine.ListAudit(ctx, callOf(ctx), in)
	records := each(out.Entries, func(e *engine.AuditEntry) *keyholdv1.AuditRecord { return recordMessage(e.Position.String(), e) })
	return answer(&keyholdv1.ListRecordsResponse{Records: records, NextPageToken: out.Next}, err)
}

func recordFilter(in *engine.AuditListInput, m *keyholdv1.ListRecordsRequest) (err error) {
	f := &in.Filter
	f.Name, f.RequestID, f.Changes, f.Resource = m.GetPrincipal(), m.GetRequestId(), m.GetChangesOnly(), m.GetResource()
	in.Key = kms.Ref(m.GetKey())
	if err := rarer(in, m); err != nil {
		return err
	}
	if m.GetAction() != "" {
		if f.Action, err = kms.ParseAction(m.GetAction()); err != nil {
			return err
		}
	}
	if m.GetKeyId() != "" {
		var ok bool
		if f.Key, ok = kms.ParseID(m.GetKeyId()); !ok {
			return kms.Errorf(kms.CodeBadRequest, "%q is not the id of a key: want a UUID", clip(m.GetKeyId()))
		}
	}
	if m.GetOutcome() != "" {
		for f.Outcome++; f.Outcome.String() != m.GetOutcome(); f.Outcome++ {
			if f.Outcome.String() == "unknown-outcome" {
				return kms.Errorf(kms.CodeBadRequest, "%q is not an outcome: want ok, denied, refused, failed, withheld, dry-run or replayed", clip(m.GetOutcome()))
			}
		}
	}
	if f.Since, err = moment(m.GetSince(), "since"); err != nil {
		return err
	}
	f.Until, err = moment(m.GetUntil(), "until")
	return err
}

// rarer reads the filters that are seldom asked for.
func rarer(in *engine.AuditListInput, m *keyholdv1.ListRecordsRequest) (err error) {
	f := &in.Filter
	if alias := m.GetPrincipalAlias(); len(alias) > 0 {
		const size = len([16]byte{})
		if len(alias) != size {
			return kms.Errorf(kms.CodeBadRequest, "a principal's alias has %d bytes, not %d", size, len(alias))
		}
		f.Aliases = append(f.Aliases, [16]byte(alias))
	}
	if m.GetCode() != "" {
		if f.Code, err = kms.ParseCode(m.GetCode()); err != nil {
			return err
		}
	}
	if m.GetDialect() != "" {
		all := kms.AllDialects()[1:] // what the server does of itself came in by none
		i := slices.IndexFunc(all, func(d kms.Dialect) bool { return d.String() == m.GetDialect() })
		if i < 0 {
			return kms.Errorf(kms.CodeBadRequest, "%q is not a protocol that requests come in by", clip(m.GetDialect()))
		}
		f.Dialect = all[i]
	}
	if m.GetNamespace() != "" {
		f.Namespace, err = kms.ParseNamespace(m.GetNamespace())
	}
	return err
}

func recordMessage(position string, e *engine.AuditEntry) *keyholdv1.AuditRecord {
	r := &e.Record
	m := &keyholdv1.AuditRecord{
		Position: position, Id: idText(r.ID), Time: stamp(r.Time), Action: r.Action.String(), Outcome: r.Outcome.String(), Code: codeText(r.Code),
		Dialect: r.Dialect.String(), Method: r.Method.String(), Principal: r.Name, PrincipalAlias: r.Alias[:], Home: string(r.Home),
		Credential: r.Credential, Namespace: string(r.Namespace), Resource: r.Resource, Scheme: schemeText(r.Scheme), RequestId: r.RequestID,
		PolicyRevision: uint64(r.PolicyRev), Policies: r.Policies, Bytes: r.Bytes, Reason: r.Reason, Detail: r.Detail, Change: r.Change, Erased: r.Erased,
	}
	if !r.Approval.IsZero() {
		m.Approval = r.Approval.String()
		for i := range r.Approvers {
			m.Approvers = append(m.Approvers, r.Approvers[i][:])
		}
	}
	if r.Remote.IsValid() {
		m.Remote = r.Remote.String()
	}
	if r.Context != [32]byte{} {
		m.ContextDigest = r.Context[:]
	}
	for i := range r.Keys {
		m.Keys = append(m.Keys, &keyholdv1.AuditKeyUse{KeyId: r.Keys[i].Key.String(), Version: r.Keys[i].Version, Revision: uint64(r.Keys[i].Rev)})
	}
	for i := range r.Items {
		m.Items = append(m.Items, &keyholdv1.AuditItem{Code: codeText(r.Items[i].Code), Bytes: r.Items[i].Bytes})
	}
	for _, v := range r.Versions {
		m.ItemVersions = append(m.ItemVersions, &keyholdv1.AuditVersionRun{Items: v.Items, Version: v.Version})
	}
	return m
}

func (s auditService) ProveRecord(ctx context.Context, r *connect.Request[keyholdv1.ProveRecordRequest]) (*connect.Response[keyholdv1.ProveRecordResponse], error) {
	out, err := s.engine.ProveRecord(ctx, callOf(ctx), engine.ProveInput{Position: r.Msg.GetPosition()})
	return answer(&keyholdv1.ProveRecordResponse{Bundle: out.Bundle, VerifierKey: out.VerifierKey}, err)
}

func (s auditService) GetCheckpoint(ctx context.Context, _ *connect.Request[keyholdv1.GetCheckpointRequest]) (*connect.Response[keyholdv1.GetCheckpointResponse], error) {
	out, err := s.engine.Checkpoint(ctx, callOf(ctx))
	return answer(&keyholdv1.GetCheckpointResponse{Checkpoint: out.Note, Witnessed: out.Witnessed, VerifierKey: out.VerifierKey}, err)
}

func (s auditService) ProveConsistency(ctx context.Context, r *connect.Request[keyholdv1.ProveConsistencyRequest]) (*connect.Response[keyholdv1.ProveConsistencyResponse], error) {
	in := engine.ConsistencyInput{Checkpoint: r.Msg.GetCheckpoint()}
	in.From.Origin, in.From.Size = r.Msg.GetFrom().GetOrigin(), r.Msg.GetFrom().GetSize()
	in.To.Origin, in.To.Size = r.Msg.GetTo().GetOrigin(), r.Msg.GetTo().GetSize()
	out, err := s.engine.ProveConsistency(ctx, callOf(ctx), in)
	return answer(&keyholdv1.ProveConsistencyResponse{Bundle: out.Bundle, VerifierKey: out.VerifierKey}, err)
}
