// Package keyfile keeps the 32-byte seed of a root-key recipient in a file that only its owner can read (mode 0600).
//
// It refuses to overwrite a file, to read one that others may read, and to follow anything that is not a regular file.
// A key file is as strong as the protection of the disk that it lies on: it is meant for development and for a second
// recipient kept offline. Format: docs/formats.md, "Key file".
package keyfile

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// Sizes in bytes. The file is header ‖ hex(seed) ‖ "-" ‖ hex(checksum) ‖ newline.
const (
	SeedSize     = 32
	checksumSize = 4
	header       = "keyhold key file v1\n"
	fileSize     = len(header) + 2*SeedSize + 1 + 2*checksumSize + 1
)

// Create makes a random seed and writes it to a new file of mode 0600, durably. An existing file is left alone: CodeExists.
func Create(path string) (*secret.Bytes, error) {
	seed := secret.Random(SeedSize)
	if err := write(path, seed); err != nil {
		seed.Zero()
		if errors.Is(err, fs.ErrExist) {
			return nil, kms.Errorf(kms.CodeExists, "the key file %s exists already", path)
		}
		return nil, kms.Errorf(kms.CodeBadSetting, "the key file %s cannot be written", path).Because(err)
	}
	return seed, nil
}

// Text is what a key file with a seed holds, for callers that keep it themselves.
func Text(seed *secret.Bytes) secret.Released { return secret.Release(encode(seed)) }

func write(path string, seed *secret.Bytes) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if err != nil {
			err = errors.Join(err, os.Remove(path)) // half a key file helps nobody
		}
	}()
	text := encode(seed)
	defer clear(text)
	if _, err := f.Write(text); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("open directory: %w", err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Read reads the seed of a key file. Errors: CodeNotFound, CodeBadSetting.
func Read(path string) (*secret.Bytes, error) {
	bad := func(format string, args ...any) *kms.Error {
		return kms.Errorf(kms.CodeBadSetting, "the key file %s %s", path, fmt.Sprintf(format, args...))
	}
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, kms.Errorf(kms.CodeNotFound, "there is no key file %s", path).Because(err)
	case err != nil:
		return nil, bad("cannot be read").Because(err)
	case !info.Mode().IsRegular():
		return nil, bad("is not a regular file")
	case info.Mode().Perm()&0o077 != 0:
		e := bad("can be read by others (mode %04o)", info.Mode().Perm())
		e.Next = "chmod 600 " + path
		return nil, e
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, bad("cannot be read").Because(err)
	}
	defer f.Close() //nolint:errcheck // read only
	if again, err := f.Stat(); err != nil || !os.SameFile(info, again) {
		return nil, bad("changed while it was opened")
	}
	text := make([]byte, fileSize+1)
	defer clear(text)
	n, err := io.ReadFull(f, text)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, bad("cannot be read").Because(err)
	}
	seed, ok := Decode(text[:n])
	if !ok {
		return nil, bad("is damaged, or is not a key file")
	}
	return seed, nil
}

func encode(seed *secret.Bytes) []byte {
	raw := seed.Reveal(reveal.Key{})
	text := append(make([]byte, 0, fileSize), header...)
	text = hex.AppendEncode(text, raw)
	text = append(text, '-')
	text = hex.AppendEncode(text, checksum(raw))
	return append(text, '\n')
}

// Decode reads the content of a key file. The second result tells whether it is one.
func Decode(text []byte) (*secret.Bytes, bool) {
	body, ok := bytes.CutPrefix(text, []byte(header))
	if !ok || len(text) != fileSize || body[2*SeedSize] != '-' || body[len(body)-1] != '\n' {
		return nil, false
	}
	seed := secret.Take(make([]byte, SeedSize))
	raw := seed.Reveal(reveal.Key{})
	sum := make([]byte, checksumSize)
	_, err1 := hex.Decode(raw, body[:2*SeedSize])
	_, err2 := hex.Decode(sum, body[2*SeedSize+1:len(body)-1])
	if err1 != nil || err2 != nil || !bytes.Equal(sum, checksum(raw)) {
		seed.Zero()
		return nil, false
	}
	return seed, true
}

// checksum is 4 bytes of SHA-256("keyhold/key-file/v1" ‖ 00 ‖ seed): it finds damage, nothing else.
func checksum(seed []byte) []byte {
	h := sha256.New()
	h.Write([]byte("keyhold/key-file/v1\x00"))
	h.Write(seed)
	return h.Sum(nil)[:checksumSize]
}
