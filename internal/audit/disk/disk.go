// Package disk is what the audit log asks of a file system, and the ways it can fail. Everything the log writes goes
// through FS, so that disktest can make each call fail, with and without its effect. Reading is done with package os.
package disk

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

// FS makes, renames and removes files. SyncDir makes names durable.
type FS interface {
	Mkdir(dir string) error // with its parents; an existing one is fine
	Create(path string) (File, error)
	Open(path string) (File, error)
	Rename(from, to string) error
	Remove(path string) error
	SyncDir(dir string) error
}

// File is open for writing. Sync makes data, and the metadata needed to read it, durable (fdatasync).
type File interface {
	WriteAt(p []byte, off int64) (int, error)
	Truncate(size int64) error
	Sync() error
	Close() error
}

// Permissions: the log is for the server's user alone.
const (
	fileMode = 0o600
	dirMode  = 0o700
)

// OS is the operating system's file system.
type OS struct{}

// Mkdir makes a folder and its parents, and syncs the parents that it changed.
func (OS) Mkdir(dir string) error {
	if st, err := os.Stat(dir); err == nil && st.IsDir() {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := (OS{}).Mkdir(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, dirMode); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return OS{}.SyncDir(parent)
}

// Create makes a new file; an existing one is an error.
func (OS) Create(path string) (File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// Open opens an existing file for writing.
func (OS) Open(path string) (File, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// Rename replaces to by from.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Remove removes a file.
func (OS) Remove(path string) error { return os.Remove(path) }

// SyncDir makes the names in a folder durable.
func (OS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	return errors.Join(err, d.Close())
}

type osFile struct{ *os.File }

func (f osFile) Sync() error { return syncData(f.File) }

// Full tells whether an error means that there is no space (or quota) left.
func Full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}
