package engine

import (
	"context"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/policy"
)

// The descriptors of looking at the trail.
var (
	listAudit = op[AuditListInput, AuditListOutput]{
		name:  kms.ReadAudit,
		check: func(in *AuditListInput) error { return checkLimit(&in.Limit) },
		do:    doListAudit,
	}
	proveRecord = op[ProveInput, ProveOutput]{name: kms.ReadAudit, do: doProve}
	checkpoint  = op[struct{}, CheckpointOutput]{
		name: kms.ReadAudit,
		do: func(_ context.Context, w *work, _ *struct{}) (CheckpointOutput, error) {
			return CheckpointOutput{Note: w.e.cfg.Log.Checkpoint(), Witnessed: w.e.cfg.Log.Witnessed(), VerifierKey: w.o.chain.PublicKey()}, nil
		},
	}
	proveConsistency = op[ConsistencyInput, ProveOutput]{name: kms.ReadAudit, check: (*ConsistencyInput).check, do: doProveConsistency}
	canI             = op[CanIInput, ExplainOutput]{
		name: kms.WhoAmI,
		do:   doCanI,
	}
	explain = op[ExplainInput, ExplainOutput]{
		name: kms.TestPolicy,
		do:   doExplain,
	}
)

// CheckpointOutput is the newest signed checkpoint of the log. Who keeps it can prove any later truncation.
type CheckpointOutput struct {
	Note        []byte // with the cosignatures of witnesses that it has
	Witnessed   []byte // the newest that a quorum of witnesses cosigned; nil: none
	VerifierKey string
}

// sees tells whether the caller may see a record: operators see all, others those of the call's namespace.
func (w *work) sees(r *audit.Record) bool {
	p := w.call.Principal
	if p.Namespace == kms.SystemNamespace && w.call.Namespace == kms.SystemNamespace {
		return true
	}
	return r.Namespace == w.call.Namespace
}

func doListAudit(ctx context.Context, w *work, in *AuditListInput) (AuditListOutput, error) {
	f := in.Filter
	if w.call.Namespace != kms.SystemNamespace {
		if f.Namespace != "" && f.Namespace != w.call.Namespace {
			return AuditListOutput{}, kms.Errorf(kms.CodeBadRequest, "the records of other namespaces are listed in the namespace %s", kms.SystemNamespace)
		}
		f.Namespace = w.call.Namespace
	}
	if in.Key != "" {
		var err error
		if f.Key, err = w.keyOf(ctx, in.Key); err != nil {
			return AuditListOutput{}, err
		}
	}
	if f.Name != "" && len(f.Aliases) == 0 {
		var err error
		if f.Aliases, err = w.aliasesOf(ctx, f.Name); err != nil {
			return AuditListOutput{}, err
		}
	}
	page, err := w.e.cfg.Log.List(ctx, f, in.Page, in.Limit)
	if err != nil {
		return AuditListOutput{}, err
	}
	out := AuditListOutput{Next: page.Next}
	for _, at := range page.Entries {
		out.Entries = append(out.Entries, AuditEntry{Position: at.Position, Record: at.Record})
	}
	return out, nil
}

// keyOf is the id that records have for a key. An id needs no key to be there: the trail remembers those that are gone.
func (w *work) keyOf(ctx context.Context, ref kms.Ref) (kms.ID, error) {
	form, id, _, err := ref.Parse()
	if err != nil || form == kms.ByID {
		return id, err
	}
	k, err := w.o.ring.Resolve(ctx, w.call.Namespace, ref)
	if err != nil {
		return kms.ID{}, err
	}
	return k.ID, nil
}

// maxHomes bounds the namespaces whose principals of a name are looked up by alias; with more of them the names in the records are read.
const maxHomes = 200

// aliasesOf gives the keyed hashes that records can have for a name: of a principal of that name in any namespace, or of none (records of the server itself). Names
// are in no index, so that erasing one reaches everything; aliases are.
func (w *work) aliasesOf(ctx context.Context, name string) ([][16]byte, error) {
	homes, more, err := w.o.records.Namespaces(ctx, "", maxHomes)
	if err != nil || more != "" {
		return nil, err
	}
	aliases := [][16]byte{{}}
	for i := range homes {
		aliases = append(aliases, w.o.aliasOf(homes[i].Name, name))
	}
	return append(aliases, w.o.aliasOf(kms.SystemNamespace, name)), nil
}

func doProve(ctx context.Context, w *work, in *ProveInput) (ProveOutput, error) {
	pos, rec, err := w.recordAt(in.Position)
	if err != nil {
		return ProveOutput{}, err
	}
	w.rec.Resource = rec.ID.String()
	bundle, err := w.e.cfg.Log.Prove(ctx, pos)
	return ProveOutput{Bundle: bundle, VerifierKey: w.o.chain.PublicKey()}, err
}

func (w *work) recordAt(position string) (audit.Position, audit.Record, error) {
	pos, err := audit.ParsePosition(position)
	if err != nil {
		return pos, audit.Record{}, err
	}
	rec, err := w.e.cfg.Log.Read(pos)
	if err == nil && !w.sees(&rec) {
		err = kms.Errorf(kms.CodeNotFound, "there is no record %s in this namespace", position)
	}
	return pos, rec, err
}

// keyLog gives the log its keys: what a tail left by an earlier boot is checked with, and what batches carry from now on.
func (e *Engine) keyLog(o *opened) error {
	if e.cfg.Log == nil {
		return nil
	}
	texts, err := o.chain.PublicKeys()
	if err != nil {
		return err
	}
	var known []note.Verifier
	for _, t := range texts {
		v, err := note.NewVerifier(t)
		if err != nil {
			return kms.Errorf(kms.CodeInternal, "an audit key cannot be read").Because(err)
		}
		known = append(known, v)
	}
	return e.cfg.Log.Keyed(audit.Keys{
		Epoch:     o.chain.AuditEpoch(),
		MAC:       func(epoch uint32, msg []byte) ([32]byte, error) { return o.chain.MAC(epoch, msg) },
		Signer:    o.chain.Signer(),
		Verifiers: note.VerifierList(known...),
	})
}

// checkHead refuses a store that is behind its log: it was put back to an older state, in which keys may be enabled that
// were disabled since, or destroyed ones may live. An operator may accept that, on the record.
func (e *Engine) checkHead(ctx context.Context, c kms.Call) error {
	if e.cfg.Log == nil {
		return nil
	}
	last, ok := e.cfg.Log.LastHead()
	if !ok {
		return nil
	}
	head, err := e.cfg.Store.Confirm(ctx)
	if err != nil {
		return kms.Errorf(kms.CodeStoreUnavailable, "the store does not answer").Because(err)
	}
	if head.Rev > last.Rev || head.Rev == last.Rev && head.Hash == last.Hash {
		return nil
	}
	behind := kms.Errorf(kms.CodeBehindItsLog, "the store is at revision %d; the audit log has seen revision %d of a different past", head.Rev, last.Rev)
	if !e.cfg.Restore {
		return e.note(c, kms.UnsealServer, behind, behind.What)
	}
	return e.note(c, kms.UnsealServer, nil, "restore accepted: "+behind.What)
}

// doCanI answers for the caller itself; asking about others is for those who may test policies.
func doCanI(ctx context.Context, w *work, in *CanIInput) (ExplainOutput, error) {
	p := w.call.Principal
	full := w.authorizeNamespace(kms.TestPolicy) == nil
	if in.Principal != "" && in.Principal != p.Name {
		if !full {
			return ExplainOutput{}, denied(w.call, kms.TestPolicy)
		}
		p = &kms.Principal{Name: in.Principal, Namespace: w.call.Namespace, Roles: in.Roles, Groups: in.Groups, Method: kms.AuthToken}
	}
	on := w.rules.resource
	if in.Action.OnKey() {
		k, err := w.o.ring.Resolve(ctx, w.call.Namespace, in.Key)
		switch {
		case kms.CodeOf(err) == kms.CodeKeyNotFound:
			on = policy.PrepareMissing(w.call.Namespace, in.Key)
		case err != nil:
			return ExplainOutput{}, err
		default:
			if on, err = w.keyResource(ctx, &k.Key, p.Name); err != nil {
				return ExplainOutput{}, err
			}
		}
	}
	ex := w.rules.Explain(w.request(p, on, in.Action, in.Context))
	if !full { // the caller learns yes or no, not what others' policies say
		ex = policy.Explanation{Decision: policy.Decision{Allowed: ex.Allowed, Code: ex.Code}}
	}
	return ExplainOutput{Explanation: ex}, nil
}

// doExplain finds the record of a decision and decides it again, on the policies as they are now.
func doExplain(ctx context.Context, w *work, in *ExplainInput) (ExplainOutput, error) {
	_, rec, err := w.recordAt(in.Decision)
	if err != nil {
		return ExplainOutput{}, err
	}
	if rec.Outcome != audit.Denied && rec.Outcome != audit.OK && rec.Outcome != audit.Withheld {
		return ExplainOutput{Record: &rec}, nil
	}
	p := &kms.Principal{Name: rec.Name, Namespace: rec.Home, Method: rec.Method}
	if rec.Method == kms.AuthSignature {
		if k, err := w.o.records.AccessKey(ctx, rec.Credential); err == nil && k.Rev != 0 {
			k.Erase()
			p.Roles, p.Groups, p.Scope = k.Roles, k.Groups, k.Scope
		} else if name, is := strings.CutPrefix(rec.Name, rolePrefix); is {
			if r, err := w.o.records.Role(ctx, rec.Home, name); err == nil && r.Rev != 0 {
				p.Roles, p.Groups, p.Scope = r.Roles, r.Groups, r.Scope
			}
		}
	} else if id, ok := kms.ParseID(rec.Credential); ok {
		if t, err := w.o.records.Token(ctx, id); err == nil && t.Rev != 0 {
			p.Roles, p.Groups, p.Scope = t.Roles, t.Groups, t.Scope
		}
	} else if c, err := w.o.records.Credential(ctx, rec.Credential); err == nil && c.Rev != 0 {
		p.Roles, p.Groups = c.Roles, c.Groups
	}
	on := w.rules.resource
	if rec.Action.OnKey() {
		on = policy.PrepareMissing(w.call.Namespace, kms.Ref(rec.Resource))
		if len(rec.Keys) > 0 {
			if k, err := w.o.ring.Key(ctx, w.call.Namespace, rec.Keys[0].Key); err == nil {
				if on, err = w.keyResource(ctx, &k.Key, p.Name); err != nil {
					return ExplainOutput{}, err
				}
			}
		}
	}
	q := w.request(p, on, rec.Action, nil)
	if rec.Action.OnSecret() {
		q.Asks = &SecretInput{Path: rec.Resource}
	}
	q.Now, q.Remote, q.Dialect = rec.Time, rec.Remote.Addr(), rec.Dialect
	return ExplainOutput{Record: &rec, Explanation: w.rules.Explain(q)}, nil
}
