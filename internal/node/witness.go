package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/keyhold/keyhold/internal/audit/tree"
	"github.com/keyhold/keyhold/internal/audit/witness"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/seal"
	"github.com/keyhold/keyhold/internal/seal/keyfile"
	"github.com/keyhold/keyhold/internal/server"
	"github.com/keyhold/keyhold/internal/tlsca"
)

// WitnessOptions say what a witness watches, and as whom. It is a program of its own: it has no store and no root key.
type WitnessOptions struct {
	Dir              string // state, and what it makes for itself
	Name             string // of its key, a schema-less URL
	Key              string // file of the key's seed, made at the first start; empty: witness.key in Dir
	LogKeys          []string
	Listen           string
	TLSCert, TLSKey  string // empty: an own authority in Dir/tls
	TLSNames         []string
	Log              *slog.Logger
	Ready            func(net.Addr, string) // told the address and the verifier key
	AcceptEmptyState bool                   // the key is there and the state is not: an operator says that this is meant
}

// Limits of a witness's server.
const (
	witnessConnections = 256
	witnessPerSource   = 32
	witnessTimeout     = 10 * time.Second
	witnessIdle        = 2 * time.Minute
	witnessHeaderBytes = 8 << 10
	certificateEvery   = time.Hour // between looks at its certificate's end
	maxLogKeyFile      = 64 << 10
)

// The files of a witness, in its folder.
const (
	witnessKeyFile = "witness.key"
	witnessPubFile = "witness.pub"
	witnessState   = "state"
)

// RunWitness serves until the context ends.
func RunWitness(ctx context.Context, o WitnessOptions) (err error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Dir == "" || o.Name == "" {
		return kms.Errorf(kms.CodeBadSetting, "a witness needs a directory and a name: --dir DIR --name NAME")
	}
	logs, err := logKeys(o.LogKeys)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return fmt.Errorf("make the witness's directory: %w", err)
	}
	key, err := o.key()
	if err != nil {
		return err
	}
	defer key.Zero()
	self, err := tree.NewWitness(o.Name, key.Public())
	if err != nil {
		return kms.Errorf(kms.CodeBadSetting, "--name %q cannot be the name of a witness: %v", o.Name, err)
	}
	w, err := witness.Open(witness.Config{Dir: filepath.Join(o.Dir, witnessState), Logs: logs, Witness: self, Sign: key.Sign, Logger: o.Log})
	if err != nil {
		return kms.Errorf(kms.CodeBadSetting, "the witness cannot start: %v", err).Because(err)
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	if err := writeFile(filepath.Join(o.Dir, witnessPubFile), []byte(self.Key()+"\n"), 0o644); err != nil {
		return err
	}
	cert, err := o.certificate()
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.Listen)
	if err != nil {
		return kms.Errorf(kms.CodeBadSetting, "the witness cannot listen on %s: %v", o.Listen, err).Because(err)
	}
	s := &http.Server{
		Handler: w.Handler(), TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: cert},
		ReadHeaderTimeout: witnessTimeout, ReadTimeout: witnessTimeout, WriteTimeout: witnessTimeout, IdleTimeout: witnessIdle,
		MaxHeaderBytes: witnessHeaderBytes, ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
	if o.Ready != nil {
		o.Ready(listener.Addr(), self.Key())
	}
	served := make(chan error, 1)
	go func() {
		served <- s.ServeTLS(server.LimitConnections(listener, witnessConnections, witnessPerSource), "", "")
	}()
	select {
	case err = <-served:
		return err
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), witnessTimeout)
	defer cancel()
	return s.Shutdown(end)
}

// logKeys reads the keys of the logs that are watched: files of verifier keys, one a line.
func logKeys(paths []string) ([]note.Verifier, error) {
	var all []note.Verifier
	for _, path := range paths {
		f, err := os.Open(filepath.Clean(path))
		if err != nil {
			return nil, kms.Errorf(kms.CodeBadSetting, "the log key cannot be read: %v", err).Because(err)
		}
		text, err := io.ReadAll(io.LimitReader(f, maxLogKeyFile+1))
		if err = errors.Join(err, f.Close()); err != nil || len(text) > maxLogKeyFile {
			return nil, kms.Errorf(kms.CodeBadSetting, "%s cannot be read, or has more than %d bytes", path, maxLogKeyFile).Because(err)
		}
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			v, err := note.NewVerifier(line)
			if err != nil {
				return nil, kms.Errorf(kms.CodeBadSetting, "%s: a line is not a log's verifier key, NAME+HASH+KEY: %v", path, err).Because(err)
			}
			all = append(all, v)
		}
	}
	if len(all) == 0 {
		return nil, kms.Errorf(kms.CodeBadSetting, "no key of a log is named: --log-key FILE")
	}
	return all, nil
}

// key reads the witness's key, or makes it. A witness that lost its state would cosign a second history: it does not go on under its key unless
// an operator says that there was none.
func (o *WitnessOptions) key() (*seal.WitnessKey, error) {
	path := o.Key
	if path == "" {
		path = filepath.Join(o.Dir, witnessKeyFile)
	}
	seed, err := keyfile.Read(path)
	if kms.CodeOf(err) == kms.CodeNotFound {
		seed, err = keyfile.Create(path)
	} else if _, gone := os.Stat(filepath.Join(o.Dir, witnessState)); err == nil && errors.Is(gone, fs.ErrNotExist) && !o.AcceptEmptyState {
		seed.Zero()
		e := kms.Errorf(kms.CodeBadSetting, "the witness has a key, %s, and no state in %s: without it, it could cosign a second history of a log", path, o.Dir)
		e.Next = "put the state back, or begin anew with another name and key; --new-state if this key never cosigned anything"
		return nil, e
	}
	if err != nil {
		return nil, err
	}
	defer seed.Zero()
	return seal.NewWitnessKey(seed)
}

// certificate gives the TLS certificate at a handshake: the configured one, or one of an own authority, which is looked at now and then.
func (o *WitnessOptions) certificate() (func(*tls.ClientHelloInfo) (*tls.Certificate, error), error) {
	load := func() (*tls.Certificate, error) {
		cert, key := o.TLSCert, o.TLSKey
		if cert == "" {
			own, _, err := tlsca.Ensure(filepath.Join(o.Dir, "tls"), o.TLSNames, time.Now())
			if err != nil {
				return nil, err
			}
			cert, key = own.Cert, own.Key
		}
		c, err := tls.LoadX509KeyPair(cert, key)
		return &c, err
	}
	now, err := load()
	if err != nil {
		return nil, kms.Errorf(kms.CodeBadSetting, "the witness has no certificate: %v", err).Because(err)
	}
	var mu sync.Mutex // guards now and at
	at := time.Now()
	return func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		mu.Lock()
		defer mu.Unlock()
		if time.Since(at) > certificateEvery {
			at = time.Now()
			if next, err := load(); err == nil {
				now = next
			} else {
				o.Log.Warn("certificate_not_read", "error", err)
			}
		}
		return now, nil
	}, nil
}
