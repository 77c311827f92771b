package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/keyhold/keyhold/internal/kms"
)

// stdStream stands for standard input or output.
const stdStream = "-"

// output are the flags of commands that write files.
type output struct {
	out   string
	force bool
}

// target is where the result of a file goes: nowhere, until it is whole.
type target struct {
	io.Writer
	name  string
	file  *pendingFile // nil: standard output
	force bool
}

// isThere is the refusal to replace a file.
func isThere(name string) error {
	return refusal(kms.CodeExists, "choose another name with --out, or replace it with --force", "the file %s is there already", name)
}

// target opens what is written: --out, or the name that is made of the source's.
func (a *app) target(o output, standard, what string, mode os.FileMode) (*target, error) {
	name := or(o.out, standard)
	if name == stdStream {
		if isTerminal(a.stdout) {
			return nil, usagef("--out FILE writes it to a file", "the %s would go to a terminal", what)
		}
		return &target{Writer: a.out, name: "standard output"}, nil
	}
	st, err := os.Lstat(name)
	if err == nil && st.IsDir() {
		return nil, refusal(kms.CodeExists, "name a file", "%s is a directory", name)
	}
	if err == nil && st.Mode().IsRegular() && !o.force { // before the work; place looks again after it
		return nil, isThere(name)
	}
	f, err := newFile(name, mode)
	if err != nil {
		return nil, err
	}
	return &target{Writer: f.File, name: name, file: f, force: o.force}, nil
}

// abandon removes what was written.
func (t *target) abandon(err error) error {
	if t.file == nil {
		return err
	}
	return errors.Join(err, t.file.abandon())
}

// place gives the whole file its name. It is on disk before it has it.
func (t *target) place() error {
	switch {
	case t.file == nil:
		return nil
	case t.file.path == "": // a pipe or a device
		return t.file.Close()
	case t.force:
		return errors.Join(t.file.keep(), syncDir(t.file.path))
	}
	if err := t.file.Sync(); err != nil {
		return t.abandon(fmt.Errorf("write %s: %w", t.name, err))
	}
	// A link, other than a rename, does not replace a file that came meanwhile.
	switch err := os.Link(t.file.Name(), t.file.path); {
	case errors.Is(err, os.ErrExist):
		return t.abandon(isThere(t.name))
	case err != nil: // the file system has no links
		if _, err := os.Lstat(t.file.path); err == nil {
			return t.abandon(isThere(t.name))
		}
		return errors.Join(t.file.keep(), syncDir(t.file.path))
	}
	return errors.Join(t.file.abandon(), syncDir(t.file.path)) // the name that it had meanwhile
}

// syncDir makes a new name durable.
func syncDir(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil //nolint:nilerr // a directory that may be written and not read: the file itself is on disk
	}
	defer d.Close() //nolint:errcheck // it was only read
	if err := d.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, os.ErrInvalid) {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// decryptedName takes the suffix off.
func decryptedName(name string) (string, error) {
	if name == stdStream {
		return stdStream, nil
	}
	short, ok := strings.CutSuffix(name, fileSuffix)
	if !ok || short == "" || strings.HasSuffix(short, string(filepath.Separator)) {
		return "", usagef("--out FILE names the result, --out - writes it to standard output", "the name %s does not end with %s", name, fileSuffix)
	}
	return short, nil
}

// counted counts what is written.
type counted struct {
	io.Writer
	n int64
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.n += int64(n)
	return n, err
}

// countedReader counts what is read.
type countedReader struct {
	io.Reader
	n int64
}

func (c *countedReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}
