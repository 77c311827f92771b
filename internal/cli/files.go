package cli

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/keyhold/keyhold/internal/kms"
)

// maxDirect is the most that the server encrypts, signs or authenticates in one request, in bytes.
const maxDirect = 64 << 10

func absolute(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("find the path of %s: %w", path, err)
	}
	return abs, nil
}

// tooLarge is the refusal of an input above a limit.
func tooLarge(name string, most int) error {
	return refusal(kms.CodeTooLarge, "pass the right file", "%s has more than %d bytes", name, most)
}

func readAtMost(r io.Reader, name string, most int) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, int64(most)+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(b) > most {
		return nil, tooLarge(name, most)
	}
	return b, nil
}

// readSmall reads a file of a bounded size.
func readSmall(path string, most int) ([]byte, error) {
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	return readAtMost(f, path, most)
}

// input opens the file of a command: its argument, or standard input.
func (a *app) input(args []string) (io.ReadCloser, string, error) {
	if len(args) == 0 || args[0] == "-" {
		if isTerminal(a.in) {
			return nil, "", usagef("name a file, or pipe the data in", "no file was named and standard input is a terminal")
		}
		return io.NopCloser(a.in), "standard input", nil
	}
	f, err := os.Open(filepath.Clean(args[0]))
	return f, args[0], err
}

// read reads the whole input of a command.
func (a *app) read(args []string, most int) (data []byte, name string, err error) {
	r, name, err := a.input(args)
	if err != nil {
		return nil, "", err
	}
	defer r.Close() //nolint:errcheck // it was only read
	data, err = readAtMost(r, name, most)
	return data, name, err
}

// encoding is the form that binary data have outside: bytes, or text.
type encoding struct {
	base64 bool
	out    string
	shown  bool // a terminal can show it without harm
}

// result writes binary output: to the file, as base64, or as it is.
func (a *app) result(e encoding, what string, data []byte) error {
	if e.base64 {
		data = append(base64.StdEncoding.AppendEncode(nil, data), '\n')
	}
	if e.out != "" {
		return writeFile(e.out, data, 0o600)
	}
	if !e.base64 && !e.shown {
		if err := a.onTerminal(what); err != nil {
			return err
		}
	}
	_, err := a.out.Write(data)
	return err
}

// ready refuses, before anything is done, output that would be refused after it.
func (a *app) ready(e encoding, what string) error {
	if e.out != "" || e.base64 || a.json() {
		return nil
	}
	return a.onTerminal(what)
}

// unbase64 reads base64 text, line ends and blanks included.
func unbase64(name string, text []byte) ([]byte, error) {
	compact := strings.Map(func(r rune) rune {
		if strings.ContainsRune(" \t\r\n", r) {
			return -1
		}
		return r
	}, string(text))
	b, err := base64.StdEncoding.DecodeString(compact)
	if err != nil {
		b, err = base64.URLEncoding.DecodeString(compact)
	}
	if err != nil {
		return nil, refusal(kms.CodeBadRequest, "leave --base64 out if it holds the bytes themselves", "%s is not base64", name)
	}
	return b, nil
}

// writeFile writes a file as a whole or not at all: under another name first, then in place of what was there.
func writeFile(path string, data []byte, mode os.FileMode) error {
	f, err := newFile(path, mode)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), f.abandon())
	}
	return f.keep()
}

// pendingFile is a file that takes its name when it is complete.
type pendingFile struct {
	*os.File
	path string
}

func newFile(path string, mode os.FileMode) (*pendingFile, error) {
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
		f, err := os.OpenFile(filepath.Clean(path), os.O_WRONLY, 0) // a pipe or a device is written as it is
		return &pendingFile{File: f}, err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".keyhold-*")
	if err != nil {
		return nil, err
	}
	p := &pendingFile{File: f, path: path}
	if err := f.Chmod(mode); err != nil {
		return nil, errors.Join(err, p.abandon())
	}
	return p, nil
}

func (f *pendingFile) keep() error {
	if f.path == "" {
		return f.Close()
	}
	if err := f.Sync(); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", f.path, err), f.abandon())
	}
	if err := f.Close(); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	if err := os.Rename(f.Name(), f.path); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

func (f *pendingFile) abandon() error {
	if f.path == "" {
		return f.Close()
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// writeOnce writes a secret to a new file that only its owner can read; a file that is there is left alone.
func writeOnce(path string, data []byte) error {
	f, err := os.OpenFile(filepath.Clean(path), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return refusal(kms.CodeExists, "choose another file", "the file %s is there already, and may hold a secret", path)
	}
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), f.Close())
	}
	return errors.Join(f.Sync(), f.Close())
}
