package engine

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/login"
	"github.com/keyhold/keyhold/internal/records"
)

// A mount is a place of a namespace at which somebody without a token can get one, by the method of its type. Which mounts there are is part of the
// namespace's rules, so that a login finds its mount without a look into the store.

// Limits of mounts of logins.
const (
	maxAuthMounts   = 64 // of a namespace: they are held with its rules
	maxAuthPath     = 64 // bytes
	maxAuthSegments = 4
	maxAuthRoles    = 10_000 // of a mount
)

// The descriptors of mounts.
var (
	enableAuth  = change[EnableAuthInput, AuthOutput]{name: kms.EnableAuth, check: checkEnable, do: doEnableAuth}
	tuneAuth    = change[TuneAuthInput, AuthOutput]{name: kms.TuneAuth, check: checkTune, do: doTuneAuth}
	disableAuth = change[AuthInput, AuthOutput]{name: kms.DisableAuth, do: doDisableAuth}
	listAuth    = op[struct{}, AuthsOutput]{name: kms.ReadAuth, do: doListAuth}
	readAuth    = op[AuthInput, AuthConfigOutput]{name: kms.ReadAuth, do: doReadAuth}
	configAuth  = change[ConfigureAuthInput, AuthConfigOutput]{
		name: kms.ConfigureAuth, check: func(in *ConfigureAuthInput) error { return checkDocument(in.Document, &in.Digest) }, prepare: prepareConfig, do: doConfigureAuth,
	}
)

// AuthInfo is a mount.
type AuthInfo struct {
	ID          kms.ID
	Path        string // without slashes around
	Type        login.Type
	Description string
	TTL         time.Duration // of tokens whose role says nothing; 0: 24 h
	Most        time.Duration // of all its tokens, with their renewals; 0: 32 days
	Roles       int           // how many there are
	Created     time.Time
	Changed     time.Time
	By          string
}

// EnableAuthInput is a new mount. Its path has 1 to 4 segments of letters, digits and . _ -, 64 bytes at most.
type EnableAuthInput struct {
	Path        string
	Type        login.Type
	Description string
	TTL, Most   time.Duration
}

// TuneAuthInput changes what is not nil.
type TuneAuthInput struct {
	Path        string
	Description *string
	TTL, Most   *time.Duration
}

// AuthInput names a mount.
type AuthInput struct{ Path string }

// ConfigureAuthInput says what the method of a mount has to know. What the document does not speak about is the method's to keep or to forget.
type ConfigureAuthInput struct {
	Path     string
	Document login.Document
	Digest   [32]byte // of its secret: given, not told

	was  records.LoginMount
	made login.Document
}

// AuthOutput is a mount.
type AuthOutput struct{ Mount AuthInfo }

// AuthsOutput are those of a namespace, by path.
type AuthsOutput struct{ Mounts []AuthInfo }

// AuthConfigOutput is a mount with what its method was told of it, but for what is secret.
type AuthConfigOutput struct {
	Mount  AuthInfo
	Config []byte // JSON; empty: nothing
}

// EnableAuth makes a mount.
func (e *Engine) EnableAuth(ctx context.Context, c kms.Call, in EnableAuthInput) (AuthOutput, error) {
	return alter(ctx, e, c, &enableAuth, &in)
}

// TuneAuth changes what holds for all tokens that a mount gives.
func (e *Engine) TuneAuth(ctx context.Context, c kms.Call, in TuneAuthInput) (AuthOutput, error) {
	return alter(ctx, e, c, &tuneAuth, &in)
}

// DisableAuth takes a mount away, with its roles. The tokens that it gave are over at once.
func (e *Engine) DisableAuth(ctx context.Context, c kms.Call, in AuthInput) (AuthOutput, error) {
	return alter(ctx, e, c, &disableAuth, &in)
}

// ListAuth answers the mounts of a namespace.
func (e *Engine) ListAuth(ctx context.Context, c kms.Call) (AuthsOutput, error) {
	return use(ctx, e, c, &listAuth, &struct{}{})
}

// ReadAuth answers a mount and what its method was told of it, but for what is secret.
func (e *Engine) ReadAuth(ctx context.Context, c kms.Call, in AuthInput) (AuthConfigOutput, error) {
	return use(ctx, e, c, &readAuth, &in)
}

// ConfigureAuth tells the method of a mount what it has to know.
func (e *Engine) ConfigureAuth(ctx context.Context, c kms.Call, in ConfigureAuthInput) (AuthConfigOutput, error) {
	defer func() { in.made.Secret.Zero() }()
	return alter(ctx, e, c, &configAuth, &in)
}

// AuthAt finds, for a dialect, the mount of a namespace that segments begin with: its path, its type, and how many segments it has. It tells of nothing
// else, and so it is nothing that somebody has to be allowed. CodeNotFound: there is none, or no such namespace.
func (i Identities) AuthAt(ctx context.Context, ns kms.Namespace, segments []string) (path string, of login.Type, n int, err error) {
	o, err := i.e.hold(ctx)
	if err != nil {
		return "", "", 0, err
	}
	defer o.release()
	r, err := o.rules.get(ctx, ns)
	if err != nil {
		return "", "", 0, err
	}
	for n = 1; n <= min(len(segments), maxAuthSegments); n++ {
		path = strings.Join(segments[:n], "/")
		if m, ok := r.logins[path]; ok {
			return path, m.of, n, nil
		}
	}
	return "", "", 0, kms.Errorf(kms.CodeNotFound, "there is no mount of logins at that path")
}

// logins are the mounts of a namespace, by path.
type logins map[string]loginAt

type loginAt struct {
	id kms.ID
	of login.Type
}

func (b *rulebook) logins(ctx context.Context, ns kms.Namespace) (logins, error) {
	page, err := b.records.LoginMounts(ctx, ns, maxAuthMounts)
	if err != nil || len(page) == 0 {
		return nil, err
	}
	all := make(logins, len(page))
	for i := range page {
		page[i].Erase()
		all[page[i].Path] = loginAt{page[i].ID, login.Type(page[i].Type)}
	}
	return all, nil
}

// reserved are words that stand in the paths of a method, or of tokens.
var reserved = []string{tokenMount, "login"}

func checkAuthPath(s string) error {
	segments := strings.Split(s, "/")
	if len(s) > maxAuthPath || len(segments) > maxAuthSegments {
		return kms.Errorf(kms.CodeBadName, "a mount's path has %d bytes and %d segments at most", maxAuthPath, maxAuthSegments)
	}
	for _, part := range segments {
		if err := kms.CheckName(part); err != nil || slices.Contains(reserved, part) {
			return kms.Errorf(kms.CodeBadName, "%q is not the path of a mount: its segments are of letters, digits and . _ -, a letter or digit first, and none is %s",
				clipTo(s, maxAuthPath), strings.Join(reserved, " or "))
		}
	}
	return nil
}

func checkEnable(in *EnableAuthInput) error {
	if err := checkAuthPath(in.Path); err != nil {
		return err
	}
	return checkAuthLives(in.Description, in.TTL, in.Most)
}

func checkAuthLives(description string, ttl, most time.Duration) error {
	switch {
	case len(description) > kms.MaxDescription:
		return kms.Errorf(kms.CodeTooLarge, "the description has %d bytes, the limit is %d", len(description), kms.MaxDescription)
	case ttl < 0 || ttl > maxTTL || most < 0 || most > maxTTL:
		return kms.Errorf(kms.CodeBadRequest, "the tokens of a mount live for %s at most", maxTTL)
	case most > 0 && ttl > most:
		return kms.Errorf(kms.CodeBadRequest, "the tokens of a mount cannot live for %s first, and for %s at most", ttl, most)
	}
	return nil
}

func checkTune(in *TuneAuthInput) error {
	var none string
	return checkAuthLives(*cmp.Or(in.Description, &none), deref(in.TTL), deref(in.Most))
}

// deref is what a pointer points to; nothing, if to nothing.
func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func authInfo(m *records.LoginMount) AuthInfo {
	return AuthInfo{ID: m.ID, Path: m.Path, Type: login.Type(m.Type), Description: m.Description, TTL: m.TTL.Duration(), Most: m.Most.Duration(),
		Roles: m.Roles, Created: m.Created, Changed: m.Changed, By: m.By}
}

func noMount(path string) error {
	return kms.Errorf(kms.CodeNotFound, "there is no mount of logins at %q in this namespace", clipTo(path, maxAuthPath))
}

// loginMount reads a mount within the transaction. Its secret is the caller's to erase.
func (w *work) loginMount(tx *records.Tx, path string) (records.LoginMount, error) {
	w.rec.Resource = "auth/" + clipTo(path, maxAuthPath)
	if path == tokenMount {
		return w.tokenMount(), nil
	}
	m, there, err := tx.LoginMount(w.call.Namespace, path)
	if err == nil && !there {
		err = noMount(path)
	}
	return m, err
}

// ownMount reads a mount that somebody made.
func (w *work) ownMount(tx *records.Tx, path string) (records.LoginMount, error) {
	if path == tokenMount {
		return records.LoginMount{}, kms.Errorf(kms.CodeBadRequest, "tokens are made in every namespace: auth/%s cannot be changed", tokenMount)
	}
	return w.loginMount(tx, path)
}

// mountNow reads a mount.
func (w *work) mountNow(ctx context.Context, path string) (records.LoginMount, error) {
	w.rec.Resource = "auth/" + clipTo(path, maxAuthPath)
	if path == tokenMount {
		return w.tokenMount(), nil
	}
	m, err := w.o.records.LoginMount(ctx, w.call.Namespace, path)
	if err == nil && m.Rev == 0 {
		err = noMount(path)
	}
	return m, err
}

// method is the one of a type. CodeBadRequest: there is none.
func (e *Engine) method(of login.Type) (login.Method, error) {
	if m := e.methods[of]; m != nil {
		return m, nil
	}
	return nil, kms.Errorf(kms.CodeBadRequest, "there are no logins of type %q here", clipTo(string(of), 32))
}

func doEnableAuth(_ context.Context, w *work, tx *records.Tx, in *EnableAuthInput) (AuthOutput, error) {
	w.rec.Resource = "auth/" + in.Path
	if err := w.rulesStand(tx); err != nil { // the other mounts count
		return AuthOutput{}, err
	}
	if _, err := w.e.method(in.Type); err != nil || in.Type == tokenMount {
		if err == nil {
			err = kms.Errorf(kms.CodeBadRequest, "tokens are made in every namespace, at auth/%s", tokenMount)
		}
		return AuthOutput{}, err
	}
	if len(w.rules.logins) >= maxAuthMounts {
		return AuthOutput{}, kms.Errorf(kms.CodeTooMany, "namespace %q has %d mounts of logins, as many as there can be", w.call.Namespace, len(w.rules.logins))
	}
	for path := range w.rules.logins {
		if strings.HasPrefix(path+"/", in.Path+"/") || strings.HasPrefix(in.Path+"/", path+"/") {
			return AuthOutput{}, kms.Errorf(kms.CodeExists, "path is already in use at %s/", path)
		}
	}
	m := records.LoginMount{ID: w.e.orderedID(w.now), Namespace: w.call.Namespace, Path: in.Path, Type: string(in.Type), Description: in.Description,
		TTL: wholeSeconds(in.TTL), Most: wholeSeconds(in.Most), Created: w.now.UTC(), Changed: w.now.UTC(), By: w.call.Principal.Name}
	err := w.putRules(tx, [32]byte{}, func(leaf [32]byte) error {
		m.Change = leaf
		return tx.PutLoginMount(m)
	})
	w.rec.Detail = "of type " + m.Type
	return AuthOutput{authInfo(&m)}, err
}

func doTuneAuth(_ context.Context, w *work, tx *records.Tx, in *TuneAuthInput) (AuthOutput, error) {
	m, err := w.ownMount(tx, in.Path)
	if err != nil {
		return AuthOutput{}, err
	}
	if in.Description != nil {
		m.Description = *in.Description
	}
	if in.TTL != nil {
		m.TTL = wholeSeconds(*in.TTL)
	}
	if in.Most != nil {
		m.Most = wholeSeconds(*in.Most)
	}
	if err := checkAuthLives(m.Description, m.TTL.Duration(), m.Most.Duration()); err != nil {
		return AuthOutput{}, err
	}
	w.changeMount(tx, &m)
	return AuthOutput{authInfo(&m)}, nil
}

// tokenMount is where tokens are made, in every namespace: it has roles, and no record.
func (w *work) tokenMount() records.LoginMount {
	return records.LoginMount{ID: w.o.records.TokenRoles(w.call.Namespace), Namespace: w.call.Namespace, Path: tokenMount, Type: tokenMount, Rev: 1}
}

// changeMount writes what has become of a mount. Which mounts there are stays as it is, and so the rules do.
func (w *work) changeMount(tx *records.Tx, m *records.LoginMount) {
	m.Changed, m.By = w.now.UTC(), w.call.Principal.Name
	w.onCommit(m.Change, func(leaf [32]byte) error {
		m.Change = leaf
		return tx.PutLoginMount(*m)
	})
}

func doDisableAuth(_ context.Context, w *work, tx *records.Tx, in *AuthInput) (AuthOutput, error) {
	m, err := w.ownMount(tx, in.Path)
	if err != nil {
		return AuthOutput{}, err
	}
	defer m.Erase()
	err = w.putRules(tx, m.Change, func([32]byte) error { return tx.RemoveLoginMount(m) })
	w.rec.Detail = "of type " + m.Type + "; the tokens that it gave are over"
	return AuthOutput{authInfo(&m)}, err
}

func doListAuth(ctx context.Context, w *work, _ *struct{}) (AuthsOutput, error) {
	page, err := w.o.records.LoginMounts(ctx, w.call.Namespace, maxAuthMounts)
	var out AuthsOutput
	for i := range page {
		page[i].Erase()
		out.Mounts = append(out.Mounts, authInfo(&page[i]))
	}
	slices.SortFunc(out.Mounts, func(a, b AuthInfo) int { return strings.Compare(a.Path, b.Path) })
	return out, err
}

func doReadAuth(ctx context.Context, w *work, in *AuthInput) (AuthConfigOutput, error) {
	m, err := w.mountNow(ctx, in.Path)
	if err != nil {
		return AuthConfigOutput{}, err
	}
	m.Erase()
	return AuthConfigOutput{Mount: authInfo(&m), Config: m.Config}, nil
}

func prepareConfig(ctx context.Context, w *work, in *ConfigureAuthInput) error {
	m, err := w.mountNow(ctx, in.Path)
	if err != nil {
		return err
	}
	method, err := w.e.method(login.Type(m.Type))
	if err != nil {
		return err
	}
	was := document(m.Config, m.Secret)
	defer was.Secret.Zero()
	in.made.Secret.Zero() // of an admission before
	if in.made, err = method.Config(ctx, was, in.Document); err == nil {
		err = checkDocument(in.made, nil)
	}
	m.Erase()
	in.was = m
	return err
}

func doConfigureAuth(_ context.Context, w *work, tx *records.Tx, in *ConfigureAuthInput) (AuthConfigOutput, error) {
	m, err := w.loginMount(tx, in.Path)
	if err != nil {
		return AuthConfigOutput{}, err
	}
	if m.Rev != in.was.Rev {
		return AuthConfigOutput{}, errStale
	}
	m.Erase()
	m.Config, m.Secret = in.made.Public, revealed(in.made.Secret)
	w.changeMount(tx, &m)
	return AuthConfigOutput{Mount: authInfo(&m), Config: m.Config}, nil
}
