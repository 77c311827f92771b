package engine

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/records"
)

// Limits of a report. Its JSON fits a stored record.
const (
	assessedVersions = 64
	assessedNames    = 32       // dependants
	assessedBytes    = 60 << 10 // of JSON; beyond, fewer users are named
	policiesRead     = 10_000
	assessmentFresh  = 24 * time.Hour // how long a destruction may go by a report
)

// AssessInput asks what the destruction of a key would reach.
type AssessInput struct {
	Key kms.Ref

	found *Report // filled by prepare, outside the transaction
}

// The parts of a report.
type (
	Report          = records.AssessmentReport
	AssessedUser    = records.AssessedUser
	AssessedVersion = records.AssessedVersion
	Dependant       = records.Dependant
)

// AssessOutput is the report, which is stored.
type AssessOutput struct {
	Report  Report
	Digest  [32]byte
	Unknown []string // what cannot be known
}

var assessKey = change[AssessInput, AssessOutput]{
	name: kms.AssessKey,
	roles: []role[AssessInput]{{action: kms.AssessKey, need: lifecycle.Read,
		key: func(in *AssessInput) (kms.Ref, error) { return in.Key, nil }}},
	prepare: func(ctx context.Context, w *work, in *AssessInput) (err error) {
		in.found, err = w.assess(ctx)
		return err
	},
	do: func(_ context.Context, w *work, tx *records.Tx, in *AssessInput) (AssessOutput, error) {
		if _, err := w.key(tx); err != nil {
			return AssessOutput{}, err
		}
		a := records.Assessment{Report: *in.found}
		var err error
		if a.Digest, err = settle(&a.Report); err != nil {
			return AssessOutput{}, err
		}
		was, _, err := tx.Assessment(a.Report.Key)
		if err != nil {
			return AssessOutput{}, err
		}
		w.rec.Detail = fmt.Sprintf("assessment sha256:%x", a.Digest)
		w.onCommit(was.Change, func(leaf [32]byte) error {
			a.Change = leaf
			return tx.PutAssessment(a)
		})
		return AssessOutput{Report: w.discreetReport(a.Report), Digest: a.Digest, Unknown: unknowable(w.keys[0].Algorithm)}, nil
	},
}

// AssessKey makes, stores and answers the report of what the destruction of a key would reach.
func (e *Engine) AssessKey(ctx context.Context, c kms.Call, in AssessInput) (AssessOutput, error) {
	return alter(ctx, e, c, &assessKey, &in)
}

// settle brings a report into the size of a record and answers its digest.
func settle(r *Report) (digest [32]byte, err error) {
	for {
		b, err := json.Marshal(r, json.Deterministic(true))
		if err != nil {
			return digest, kms.Errorf(kms.CodeInternal, "the report could not be encoded").Because(err)
		}
		if n := len(r.Users); len(b) > assessedBytes && n > 0 {
			for _, u := range r.Users[n/2:] {
				r.Others += u.Done
			}
			r.Users = r.Users[:n/2]
			continue
		}
		return sha256.Sum256(b), nil
	}
}

// assess gathers what is known of an admitted key.
func (w *work) assess(ctx context.Context) (*Report, error) {
	k := w.keys[0]
	end, err := w.ledgerEnd(ctx)
	if err != nil {
		return nil, err
	}
	r := &Report{Namespace: k.Namespace, Key: k.ID, Name: k.Name, At: w.now.UTC(), By: w.call.Principal.Name,
		State: k.Switch.String(), Since: end.Begun, Through: end.Time}
	versions, err := w.usedFor(ctx, k.ID)
	if err != nil {
		return nil, err
	}
	count(r, versions)
	if err := w.countResidue(ctx, r, versions); err != nil {
		return nil, err
	}
	if err := w.countBackups(ctx, r, k.Created); err != nil {
		return nil, err
	}
	r.Dependants, err = w.dependants(ctx, k)
	return r, err
}

// count adds up who did what.
func count(r *Report, versions []VersionUsage) {
	for _, v := range versions {
		r.Refused += v.Refused
		r.Done += v.Done
		if v.Done > 0 {
			r.First, r.Last = first(r.First, v.First), later(r.Last, v.Last)
		}
		for _, o := range v.Operations {
			switch {
			case o.Code != 0:
			case o.Action == kms.GetPublicKey:
				r.PublicKeys += o.Count
			case o.Action == kms.ExportKey:
				r.Exports += o.Count
			}
		}
	}
	for _, u := range usersOf(versions, time.Time{}) {
		if u.Others || len(r.Users) == records.MaxUsers {
			r.Others += u.Done
			continue
		}
		r.Users = append(r.Users, AssessedUser{Alias: u.Alias, Name: u.Name, Namespace: u.Namespace, First: u.First, Last: u.Last, Done: u.Done})
	}
}

// countResidue says of the newest versions that matter what is under them, and of all together how much.
func (w *work) countResidue(ctx context.Context, r *Report, versions []VersionUsage) error {
	numbers, err := w.residues(ctx, r.Key)
	if err != nil {
		return err
	}
	for _, v := range versions {
		if v.Version != 0 && !slices.Contains(numbers, v.Version) {
			numbers = append(numbers, v.Version)
		}
	}
	slices.Sort(numbers)
	for _, n := range slices.Backward(numbers) {
		left, err := w.residue(ctx, r.Key, n)
		if err != nil {
			return err
		}
		a := AssessedVersion{Version: n, DataKeys: uint64(left.Held), Outside: uint64(left.Outside)} //nolint:gosec // G115: counts
		r.DataKeys, r.Outside = r.DataKeys+a.DataKeys, r.Outside+a.Outside
		r.Bounded = r.Bounded || left.Held == residueCounted || left.Outside == residueCounted
		if i := slices.IndexFunc(versions, func(v VersionUsage) bool { return v.Version == n }); i >= 0 {
			a.Last, a.Done = versions[i].Last, versions[i].Done
		}
		if len(r.Versions) == assessedVersions {
			r.More = true
			continue
		}
		r.Versions = append(r.Versions, a)
	}
	return nil
}

// countBackups says how often the store left since the key was made.
func (w *work) countBackups(ctx context.Context, r *Report, made time.Time) error {
	row, err := w.o.records.UsageOf(ctx, kms.ID{}, 0)
	if err != nil {
		return err
	}
	for _, l := range row.Lines {
		if l.Action == kms.ExportStore && l.Code == 0 && !l.Last.Before(made) {
			r.Backups, r.LastBackup = r.Backups+l.N, later(r.LastBackup, l.Last)
		}
	}
	return nil
}

// dependants names what names the key: policies of its namespace by name, alias or id, and import tokens.
func (w *work) dependants(ctx context.Context, k admitted) (all []Dependant, err error) {
	add := func(kind, name string) {
		if len(all) < assessedNames {
			all = append(all, Dependant{Kind: kind, Name: name})
		}
	}
	names := []string{`"` + k.Name + `"`, `"` + k.ID.String() + `"`}
	for _, a := range k.Aliases {
		names = append(names, `"`+a+`"`, `"alias/`+a+`"`)
	}
	read := 0
	for after := ""; read < policiesRead; {
		page, next, err := w.o.records.Policies(ctx, k.Namespace, after, scanPage)
		if err != nil {
			return nil, err
		}
		for _, p := range page {
			if slices.ContainsFunc(names, func(n string) bool { return strings.Contains(p.Text, n) }) {
				add("policy", p.ID)
			}
		}
		if read += len(page); next == "" {
			break
		}
		after = next
	}
	imports, err := w.o.records.Imports(ctx, pageMost)
	for _, i := range imports {
		if i.Key == k.ID || i.Under == k.ID {
			add("import-token", i.ID.String())
		}
	}
	return all, err
}

// usedSince reads who used the key, for the gate before a destruction.
func (w *work) usedSince(ctx context.Context) ([]UserUsage, error) {
	if w.call.DryRun {
		return nil, nil
	}
	if err := w.counted(ctx); err != nil {
		return nil, err
	}
	versions, err := w.usedFor(ctx, w.keys[0].ID)
	return usersOf(versions, time.Time{}), err
}

// assessed refuses a destruction that nobody has looked at the reach of: without a report of the last day, or after a use by somebody whom the report
// does not name. A dry run needs none.
func (w *work) assessed(tx *records.Tx, key kms.ID, users []UserUsage) (digest [32]byte, err error) {
	if w.call.DryRun {
		return digest, nil
	}
	a, ok, err := tx.Assessment(key)
	switch {
	case err != nil:
		return digest, err
	case !ok:
		return digest, kms.Errorf(kms.CodeAssessment, "nobody has looked yet at what the destruction of this key would reach")
	case w.now.Sub(a.Report.At) > assessmentFresh:
		return digest, kms.Errorf(kms.CodeAssessment, "what the destruction of this key would reach was looked at last at %s, more than a day ago", spelt(a.Report.At))
	}
	for _, u := range users {
		known := u.Others && a.Report.Others > 0 || slices.ContainsFunc(a.Report.Users, func(k AssessedUser) bool {
			return records.User{Alias: k.Alias, Name: k.Name, Home: k.Namespace}.Is(records.User{Alias: u.Alias, Name: u.Name, Home: u.Namespace})
		})
		if !known && !u.Last.Before(a.Report.At) {
			return digest, kms.Errorf(kms.CodeAssessment, "%s used the key at %s, and is not in the report of %s", calledOf(u), spelt(u.Last), spelt(a.Report.At))
		}
	}
	return a.Digest, nil
}

// calledOf is what a principal is called in a message.
func calledOf(u UserUsage) string {
	switch {
	case u.Others:
		return "somebody"
	case u.Name == "":
		return fmt.Sprintf("a principal whose name was erased (%x)", u.Alias)
	}
	return u.Name
}
