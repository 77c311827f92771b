package engine

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/keyring"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/usage"
)

// A role is what an operation wants of one key.
type role[In any] struct {
	action kms.Action                 // what the caller must be allowed to do with it
	need   lifecycle.Need             // what its state must permit
	key    func(*In) (kms.Ref, error) // which key
	items  func(*In) items            // the encryption contexts that policies may look at; nil: none
}

// An op describes an operation that changes nothing. These descriptors are the whole truth.
type op[In, Out any] struct {
	name      kms.Action
	roles     []role[In]                                     // none: the operation is on the namespace
	check     func(*In) error                                // form and limits, before anything is looked up
	authorize func(*work, *In) error                         // where set: decides on something else than keys or the namespace
	do        func(context.Context, *work, *In) (Out, error) // gets admitted keys and nothing else
	cost      func(*In) amount                               // what it protects; nil: one operation, no bytes
	erase     func(*Out)                                     // forgets an output that is not released
}

// use runs an operation that changes nothing: admit → do → settle.
func use[In, Out any](ctx context.Context, e *Engine, c kms.Call, d *op[In, Out], in *In) (out Out, err error) {
	w := e.start(&c, d.name)
	defer w.finish()
	if err = w.enter(ctx); err != nil {
		return out, err
	}
	if err = admit(ctx, w, d.roles, d.check, d.authorize, in); err == nil && (!c.DryRun || c.Whole && d.name.Group() == kms.UseGroup) {
		out, err = perform(ctx, w, d, in)
	}
	if err == nil && c.DryRun {
		w.rec.Outcome = audit.DryRun
	}
	if err = w.settle(ctx, err); err != nil || c.DryRun {
		if d.erase != nil {
			d.erase(&out)
		}
		var none Out
		return none, err
	}
	return out, nil
}

// perform calls do and turns a panic into an error, so that it is recorded like any other failure.
func perform[In, Out any](ctx context.Context, w *work, d *op[In, Out], in *In) (out Out, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = w.e.panicked(d.name, p)
		}
	}()
	if w.limited() && !w.call.DryRun {
		w.cost = cost(1, 0)
		if d.cost != nil {
			w.cost = d.cost(in)
		}
	}
	return d.do(ctx, w, in)
}

func (e *Engine) panicked(a kms.Action, p any) error {
	e.log.Error("operation_panicked", "action", a.String(), "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	return kms.Errorf(kms.CodeInternal, "the server failed to carry out the request")
}

// admit checks the form, then finds and authorizes each key. Authorization is decided by name before it is told whether
// a key exists: a refusal for a missing key is the refusal for a key of that name.
func admit[In any](ctx context.Context, w *work, roles []role[In], check func(*In) error, authorize func(*work, *In) error, in *In) error {
	if err := w.enterNamespace(ctx); err != nil {
		return err
	}
	w.in = in
	if check != nil {
		if err := check(in); err != nil {
			return err
		}
	}
	if authorize != nil {
		w.authorize = func(w *work) error { return authorize(w, in) }
		return authorize(w, in)
	}
	if len(roles) == 0 {
		return w.authorizeNamespace(w.rec.Action)
	}
	for i := range roles {
		r := &roles[i]
		ref, err := r.key(in)
		if err != nil {
			return err
		}
		var its items
		if r.items != nil {
			if its = r.items(in); w.rec.Context == [32]byte{} {
				w.rec.Context = its.digest()
			}
		}
		if err := w.admitKey(ctx, ref, r.action, r.need, its); err != nil {
			return err
		}
	}
	return nil
}

func (w *work) admitKey(ctx context.Context, ref kms.Ref, a kms.Action, need lifecycle.Need, its items) error {
	alias, _ := ref.Alias()
	return w.admitNamed(ctx, ref, alias, a, need, its)
}

// admitNamed admits a key that was named by an alias, also where ref is its id by now.
func (w *work) admitNamed(ctx context.Context, ref kms.Ref, alias string, a kms.Action, need lifecycle.Need, its items) error {
	w.alias = alias
	if !w.o.ring.Lease().Valid() {
		return kms.Errorf(kms.CodeStoreUnavailable, "the server has lost touch with its store")
	}
	k, missing := w.o.ring.Resolve(ctx, w.call.Namespace, ref)
	if missing != nil && kms.CodeOf(missing) != kms.CodeKeyNotFound {
		return missing
	}
	if missing == nil && w.call.Region != k.Region && !k.In(w.call.Region) {
		k, missing = nil, elsewhere(ref, w.call.Region)
	}
	// The record names what was asked for, whatever comes of it.
	name := clipTo(string(ref), 255)
	if missing == nil {
		w.rec.Keys = append(w.rec.Keys, keyUse(k.ID, 0, k.Rev))
		name = k.Name
	}
	if w.rec.Resource == "" {
		w.rec.Resource = name
	}
	if err := w.authorizeKey(ctx, k, ref, a, its); err != nil {
		return err
	}
	if missing != nil {
		return missing
	}
	w.keys[w.n] = admitted{Key: k, action: a, need: need, items: its, alias: alias}
	w.n++
	if w.call.Admit != nil {
		if err := w.call.Admit(&k.Key); err != nil {
			return about(k.ID, err)
		}
	}
	return about(k.ID, lifecycle.KeyPermits(w.switchOf(&k.Key), need, lifecycle.Terms{Freeze: k.Freeze}))
}

// about says of which key a refusal is, for dialects that name it.
func about(id kms.ID, err error) error {
	if err == nil {
		return nil
	}
	told := *kms.AsError(err)
	told.Key = id
	return &told
}

// unfit says of a refusal what the key is that cannot do what was asked, for dialects that name it.
func unfit(k *admitted, err error) error {
	if err == nil {
		return nil
	}
	told := *kms.AsError(err)
	told.Key, told.Of = k.ID, kms.Kinded{Algorithm: k.Algorithm, Usage: k.Usage}
	return &told
}

// version opens a version of an admitted key, if its state permits what the role needs. 0 stands for the primary.
func (w *work) version(ctx context.Context, i int, n uint32) (*keyring.Version, error) {
	k := &w.keys[i]
	if n == 0 {
		n = lifecycle.PrimaryAt(&k.Key.Key, w.now)
	}
	if w.rec.Keys[i].Version == 0 && n <= k.Latest { // the record names what was asked for, whatever comes of it
		w.rec.Keys[i].Version = n
	}
	if least := leastVersion(&k.Key.Key, k.need); n < least {
		return nil, about(k.ID, kms.Errorf(kms.CodeTooOld, "version %d is below %d, the least that the key lets be used for this", n, least))
	}
	v, err := w.o.ring.Version(ctx, k.Key, n)
	if err != nil {
		return nil, err
	}
	if err := w.permits(ctx, k, &v.Version, k.need); err != nil {
		v.Release()
		return nil, about(k.ID, err)
	}
	if v.Handle == nil { // in the archive, and it may be opened
		if v, err = w.o.ring.Archived(ctx, k.Key, n); err != nil {
			return nil, err
		}
	}
	w.hold(holding{v, i, n})
	if w.cost != (amount{}) {
		if err := w.spend(ctx, k, n, w.cost); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// leastVersion is the least version of a key that its owner lets protect, or process. What needs neither asks for none.
func leastVersion(k *kms.Key, need lifecycle.Need) uint32 {
	switch need { //nolint:exhaustive // the others do not use a version
	case lifecycle.Protect:
		return max(k.MinProtect, k.MinProcess)
	case lifecycle.Process:
		return k.MinProcess
	}
	return 0
}

// permits decides on a version as its state and dates stand at the operation's time.
func (w *work) permits(ctx context.Context, k *admitted, v *kms.Version, need lifecycle.Need) error {
	if lifecycle.Expired(v, w.now) {
		return kms.Errorf(kms.CodeMaterialExpired, "the imported material of version %d expired at %s", v.Number, spelt(v.ExpiresAt))
	}
	state, terms := lifecycle.StateAt(v, w.now), lifecycle.TermsAt(&k.Key.Key, v, w.now)
	if state == kms.Compromised && need == lifecycle.Process {
		terms.Compromised = w.mayProcessCompromised(ctx, k, v.Number)
	}
	return lifecycle.Permits(w.switchOf(&k.Key.Key), state, need, terms)
}

// settle makes the record durable, then checks once more that what admitted the call still stands. Only a nil answer
// releases the output.
func (w *work) settle(ctx context.Context, err error) error {
	if err != nil {
		e := kms.AsError(err)
		w.rec.Code = e.Code
		w.rec.Outcome = outcomeOf(e.Kind())
		if e.Code == kms.CodeKeyPendingDestruction && usage.Counts(w.rec.Action) {
			w.e.missed.Add(1)
		}
		if cause := e.Unwrap(); cause != nil && (e.Kind() == kms.KindInternal || e.Kind() == kms.KindUnavailable) {
			w.e.log.Error("operation_failed", "action", w.rec.Action.String(), "code", e.Code.String(), "request_id", w.rec.RequestID, "error", cause)
		}
	} else if w.rec.Outcome == 0 {
		w.rec.Outcome = audit.OK
	}
	pos, failed := w.e.record(&w.rec)
	if failed != nil {
		return failed
	}
	if err != nil {
		return w.e.refusal(w, pos, err)
	}
	if w.stands(ctx) {
		return nil
	}
	return w.withhold()
}

// record appends one record and counts it.
func (e *Engine) record(r *audit.Record) (audit.Position, error) {
	pos, err := e.rec.Append(r)
	if err != nil {
		e.log.Error("record_not_written", "action", r.Action.String(), "error", err)
		err = unrecordable(err)
		r.Outcome = audit.Failed
	}
	e.counts.add(r.Action, r.Dialect, r.Outcome)
	return pos, err
}

func unrecordable(err error) error {
	if k := kms.AsError(err); k.Kind() == kms.KindUnavailable {
		return k
	}
	return kms.Errorf(kms.CodeAuditUnavailable, "the audit record could not be written, so nothing was released").Because(err)
}

// refusal gives a denial its decision id, by which an administrator can have it explained.
func (e *Engine) refusal(w *work, pos audit.Position, err error) error {
	k := kms.AsError(err)
	if k.Kind() != kms.KindDenied {
		return k
	}
	e.denials.note(w.call.Principal, e.clock.Trusted())
	told := *k
	told.Decision = pos.String()
	return &told
}

func outcomeOf(k kms.Kind) audit.Outcome {
	switch k {
	case kms.KindDenied, kms.KindUnauthenticated:
		return audit.Denied
	case kms.KindIntegrity, kms.KindInternal, kms.KindUnavailable:
		return audit.Failed
	default:
		return audit.Refused
	}
}
