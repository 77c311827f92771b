// Package userpass is the login of users by their passwords, of which the server keeps what argon2id (RFC 9106) makes of them.
//
// It refuses to tell a wrong password from a user that there is not, by what it answers or by how long that takes, and to work on more passwords at once
// than it has memory for: whoever comes then waits, as long as the request lasts.
package userpass

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/crypto/argon2"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/login"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// The cost of a password: the second choice of RFC 9106 §4 is 64 MiB for a machine with one user; of many, OWASP's least cost is 19 MiB and two passes.
const (
	memory = 19 << 10 // KiB
	passes = 2
	lanes  = 1

	atOnce = 4 // passwords that are worked on at the same time

	maxPassword = 1024 // bytes
	saltSize    = 16   // bytes
	hashSize    = 32   // bytes

	// Bounds of what is read: costs can be raised later, and old ones still be read.
	maxMemory = 1 << 20 // KiB
	maxPasses = 16
)

// form is the first byte of what is kept: 01, memory in KiB u32, passes u32, lanes u8, salt, hash.
const (
	form     = 1
	headSize = 1 + 4 + 4 + 1
)

// Method is the login. It is safe for concurrent use.
type Method struct {
	slots  chan struct{}
	nobody []byte // what a user would have that there is not
}

// New makes one.
func New() *Method {
	m := &Method{slots: make(chan struct{}, atOnce)}
	b := make([]byte, headSize+saltSize+hashSize)
	head(b)
	rand.Read(b[headSize:]) //nolint:errcheck // never fails since Go 1.24
	m.nobody = b
	return m
}

// Config keeps nothing: there is nothing to say of a mount of users.
func (m *Method) Config(_ context.Context, _, asked login.Document) (login.Document, error) {
	return login.Document{}, kms.Errorf(kms.CodeBadRequest, "a mount of users has no configuration")
}

// Role keeps a user's password, if one is given, and the one that there was otherwise.
func (m *Method) Role(ctx context.Context, _ string, was, asked login.Document) (login.Document, error) {
	switch n := asked.Secret.Len(); {
	case n == 0 && was.Secret.Len() > 0:
		return login.Document{Secret: secret.Copy(was.Secret.Reveal(reveal.Key{}))}, nil
	case n == 0:
		return login.Document{}, kms.Errorf(kms.CodeBadRequest, "missing password")
	case n > maxPassword:
		return login.Document{}, kms.Errorf(kms.CodeTooLarge, "a password has %d bytes at most", maxPassword)
	}
	b := make([]byte, headSize+saltSize, headSize+saltSize+hashSize)
	head(b)
	rand.Read(b[headSize:]) //nolint:errcheck // never fails since Go 1.24
	if err := m.enter(ctx); err != nil {
		return login.Document{}, err
	}
	defer m.leave()
	hash := argon2.IDKey(asked.Secret.Reveal(reveal.Key{}), b[headSize:], passes, memory, lanes, hashSize)
	return login.Document{Secret: secret.Take(append(b, hash...))}, nil
}

func head(b []byte) {
	b[0] = form
	binary.BigEndian.PutUint32(b[1:], memory)
	binary.BigEndian.PutUint32(b[5:], passes)
	b[9] = lanes
}

// kept is what is kept of a password.
type kept struct {
	memory, passes uint32
	lanes          uint8
	salt, hash     []byte
}

func read(b []byte) (k kept, err error) {
	if len(b) != headSize+saltSize+hashSize || b[0] != form {
		return k, errors.New("it is not of a form that is known")
	}
	k = kept{memory: binary.BigEndian.Uint32(b[1:]), passes: binary.BigEndian.Uint32(b[5:]), lanes: b[9],
		salt: b[headSize : headSize+saltSize], hash: b[headSize+saltSize:]}
	if k.memory < 8 || k.memory > maxMemory || k.passes == 0 || k.passes > maxPasses || k.lanes == 0 {
		return kept{}, fmt.Errorf("%d KiB, %d passes and %d lanes are not a cost that is used", k.memory, k.passes, k.lanes)
	}
	return k, nil
}

func (m *Method) enter(ctx context.Context) error {
	select {
	case m.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return kms.Errorf(kms.CodeCancelled, "the request ended while other passwords were worked on").Because(ctx.Err())
	}
}

func (m *Method) leave() { <-m.slots }

// Prove compares a password with that of the user.
func (m *Method) Prove(ctx context.Context, mount login.Mount, r login.Request) (login.Identity, error) {
	if n := r.Proof.Len(); n == 0 || n > maxPassword {
		return login.Identity{}, login.Refuse("there is no password, or one of more than %d bytes", maxPassword)
	}
	user, missing := mount.Roles.Role(ctx, r.Role)
	defer user.Secret.Zero()
	if no := (*login.Refusal)(nil); missing != nil && !errors.As(missing, &no) {
		return login.Identity{}, missing
	}
	of := m.nobody
	if missing == nil {
		of = user.Secret.Reveal(reveal.Key{})
	}
	k, err := read(of)
	if err != nil {
		return login.Identity{}, fmt.Errorf("read the password of user %q: %w", user.Name, err)
	}
	if err := m.enter(ctx); err != nil {
		return login.Identity{}, err
	}
	defer m.leave()
	got := argon2.IDKey(r.Proof.Reveal(reveal.Key{}), k.salt, k.passes, k.memory, k.lanes, hashSize)
	defer clear(got)
	good := subtle.ConstantTimeCompare(got, k.hash) == 1
	switch {
	case missing != nil:
		return login.Identity{}, missing
	case !good:
		return login.Identity{}, login.Refuse("the password of user %q is another", user.Name)
	}
	return login.Identity{Role: user.Name, Name: user.Name, Metadata: map[string]string{"username": user.Name}}, nil
}
