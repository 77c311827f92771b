package native

import (
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
	"github.com/keyhold/keyhold/internal/kms"
)

// answer wraps what a method answers.
func answer[T any](m *T, err error) (*connect.Response[T], error) {
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(m), nil
}

// each converts a list.
func each[A, B any](from []A, convert func(*A) B) []B {
	if len(from) == 0 {
		return nil
	}
	to := make([]B, len(from))
	for i := range from {
		to[i] = convert(&from[i])
	}
	return to
}

// stamp is a time; the zero time is not set.
func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// moment reads a time; not set is the zero time.
func moment(t *timestamppb.Timestamp, field string) (time.Time, error) {
	if t == nil {
		return time.Time{}, nil
	}
	if err := t.CheckValid(); err != nil {
		return time.Time{}, kms.Errorf(kms.CodeBadRequest, "%s is not a valid time", field)
	}
	return t.AsTime(), nil
}

// span reads a duration; not set is 0, a duration that is set to 0 or less is refused: the server's default is not what it says.
func span(d *durationpb.Duration, field string) (time.Duration, error) {
	if d == nil {
		return 0, nil
	}
	if err := d.CheckValid(); err != nil || d.AsDuration() <= 0 {
		return 0, kms.Errorf(kms.CodeBadRequest, "%s is not a duration above 0", field)
	}
	return d.AsDuration(), nil
}

// idText is an id; none is empty.
func idText(id kms.ID) string {
	if id.IsZero() {
		return ""
	}
	return id.String()
}

// codeText is a code; none is empty.
func codeText(c kms.Code) string {
	if c == 0 {
		return ""
	}
	return c.String()
}

// schemeText is a scheme; none is empty.
func schemeText(s kms.Scheme) string {
	if s == kms.NoScheme {
		return ""
	}
	return s.String()
}

func actionsOf(names []string) ([]kms.Action, error) {
	if len(names) > kms.ActionCount {
		return nil, kms.Errorf(kms.CodeTooLarge, "%d actions are more than there are", len(names))
	}
	all := make([]kms.Action, 0, len(names))
	for _, n := range names {
		a, err := kms.ParseAction(n)
		if err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	return all, nil
}

func rolesOf(names []string) []kms.Role {
	all := make([]kms.Role, len(names))
	for i, n := range names {
		all[i] = kms.Role(n)
	}
	return all
}

func roleText(r *kms.Role) string { return string(*r) }

func actionText(a *kms.Action) string { return a.String() }

func keyMessage(k *kms.Key) *keyholdv1.Key {
	return &keyholdv1.Key{
		Id: idText(k.ID), Namespace: string(k.Namespace), Name: k.Name, Aliases: k.Aliases, Algorithm: k.Algorithm.String(),
		Usage: k.Usage.String(), Origin: k.Origin.String(), State: k.Switch.String(), PrimaryVersion: k.Primary, LatestVersion: k.Latest,
		Description: k.Description, Labels: k.Labels, CreatedAt: stamp(k.Created), ChangedAt: stamp(k.Changed),
		DestroyAt: stamp(k.DestroyAt), DestroyedAt: stamp(k.Destroyed), Revision: uint64(k.Rev),
		Bytes: lengthOf(k), Leaks: k.Algorithm.Facts().Leaks,
		Freeze: k.Freeze, ProcessDeactivated: k.ProcessDeactivated, Exportable: k.Exportable, DataClass: k.Class, Template: k.Template,
		Cryptoperiod: periodMessage(k.Period), RotatedAt: stamp(k.Rotated), RotateAt: stamp(k.RotateAt),
		NextVersion: k.Next, NextAt: stamp(k.NextAt),
		IrrecoverableAt: stamp(k.Irrecoverable),
		HomeRegion:      k.Region, Replicas: replicaMessages(k.Replicas),
	}
}

func replicaMessages(all []kms.Replica) (out []*keyholdv1.KeyReplica) {
	for i := range all {
		r := &all[i]
		out = append(out, &keyholdv1.KeyReplica{Region: r.Region, State: r.Switch.String(), Description: r.Description, Labels: r.Labels,
			CreatedAt: stamp(r.Created), DestroyAt: stamp(r.DestroyAt)})
	}
	return out
}

func periodMessage(p kms.Period) *keyholdv1.Cryptoperiod {
	if p.IsZero() {
		return nil
	}
	m := &keyholdv1.Cryptoperiod{Calendar: p.Calendar, Operations: p.Operations, Bytes: p.Bytes}
	if p.Every != 0 {
		m.Every = durationpb.New(p.Every.Duration())
	}
	if p.Jitter != 0 {
		m.Jitter = durationpb.New(p.Jitter.Duration())
	}
	return m
}

// periodIf reads a cryptoperiod; not set is nil.
func periodIf(m *keyholdv1.Cryptoperiod) (*kms.Period, error) {
	if m == nil {
		return nil, nil //nolint:nilnil // not set
	}
	p := &kms.Period{Calendar: m.GetCalendar(), Operations: m.GetOperations(), Bytes: m.GetBytes()}
	for _, f := range []struct {
		name string
		from *durationpb.Duration
		to   *kms.Seconds
	}{{"cryptoperiod.every", m.GetEvery(), &p.Every}, {"cryptoperiod.jitter", m.GetJitter(), &p.Jitter}} {
		var err error
		if *f.to, err = wholeSeconds(f.from, f.name); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// wholeSeconds reads a duration that is kept in seconds.
func wholeSeconds(d *durationpb.Duration, field string) (kms.Seconds, error) {
	v, err := span(d, field)
	if err == nil && v%time.Second != 0 {
		err = kms.Errorf(kms.CodeBadRequest, "%s is not in whole seconds", field)
	}
	return kms.Seconds(v / time.Second), err
}

// lengthOf is the length of a key's material in bytes, where the algorithm leaves a choice; else 0.
func lengthOf(k *kms.Key) uint32 {
	f := k.Algorithm.Facts()
	if f.MaxBytes == 0 {
		return 0
	}
	if k.Bytes == 0 {
		return uint32(f.Bits / 8) //nolint:gosec // G115: a short table
	}
	return uint32(k.Bytes) //nolint:gosec // G115: at most f.MaxBytes
}

func versionMessage(v *kms.Version) *keyholdv1.KeyVersion {
	return &keyholdv1.KeyVersion{
		Version: v.Number, Algorithm: v.Algorithm.String(), State: v.State.String(), Origin: v.Origin.String(), Source: v.Source,
		CreatedAt: stamp(v.Created), PublicKey: v.Public, CheckValue: v.Check,
		ActivateAt: stamp(v.ActivateAt), DeactivateAt: stamp(v.DeactivateAt), RecallUntil: stamp(v.RecallUntil), ExpiresAt: stamp(v.ExpiresAt),
		Archived: v.Archived,
		History: each(v.History, func(t *kms.Transition) *keyholdv1.Transition {
			return &keyholdv1.Transition{State: t.To.String(), At: stamp(t.At), By: t.By, Reason: t.Reason}
		}),
	}
}
