package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/keyhold/keyhold/internal/kms"
)

// maxFile is the largest file that is read, in bytes.
const maxFile = 1 << 20

// Override is a setting from the command line.
type Override struct {
	Name  string // of the setting, "data_dir"
	Value string
	Flag  string // how it was given, "--data": for messages
}

// Load reads the file (empty: none), the environment ("NAME=value", as os.Environ has it) and the command line.
// An error is a *kms.Error of CodeBadSetting that lists every problem; errors.As finds the Problems in it.
func Load(path string, environ []string, over ...Override) (*Config, error) {
	var given []value
	var ps Problems
	if path != "" {
		text, err := readFile(path)
		if err != nil {
			return nil, kms.Errorf(kms.CodeBadSetting, "the configuration cannot be read: %v", err).Because(err)
		}
		given, ps = parse(path, text)
	}
	fromEnv, more := environment(environ)
	given, ps = append(given, fromEnv...), append(ps, more...)
	for _, o := range over {
		given = append(given, value{name: o.Name, texts: []string{o.Value}, at: place{name: o.Flag}})
	}
	c, err := build(given)
	var wrong Problems
	if errors.As(err, &wrong) {
		ps = append(ps, wrong...)
	}
	if len(ps) > 0 {
		return nil, kms.Errorf(kms.CodeBadSetting, "%s", ps.Error()).Because(ps)
	}
	return c, nil
}

// Check reads a file as Load does, without the environment.
func Check(path string) error {
	_, err := Load(path, nil)
	return err
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("%s has more than %d bytes", path, maxFile)
	}
	return text, nil
}

// value is what was given for a setting, and where.
type value struct {
	name  string
	texts []string
	base  string // directory where relative paths start; empty: the working directory
	at    place
}

// build makes a Config of the defaults and what was given; later values win.
func build(given []value) (*Config, error) {
	c := &Config{Audit: Audit{Sinks: make([]Sink, MaxSinks)}}
	var ps Problems
	from := make(map[string]place)
	for _, s := range append(table(), sinkRows()...) {
		s.apply(c, value{name: s.name, texts: defaults(s)}, &ps)
		for _, v := range given {
			if v.name == s.name {
				s.apply(c, v, &ps)
				from[s.name] = v.at
			}
		}
	}
	if len(ps) == 0 {
		ps = c.finish(from)
	}
	if len(ps) > 0 {
		return nil, ps
	}
	return c, nil
}

func defaults(s setting) []string {
	if s.list && s.value == "" {
		return nil
	}
	return []string{s.value}
}

func (s *setting) apply(c *Config, v value, ps *Problems) {
	err := func() error {
		if !s.list && len(v.texts) != 1 {
			return errors.New("it is a list")
		}
		if len(v.texts) > maxList {
			return fmt.Errorf("%d values are more than %d", len(v.texts), maxList)
		}
		for _, text := range v.texts {
			if len(text) > maxValue {
				return fmt.Errorf("the value has %d bytes, the limit is %d", len(text), maxValue)
			}
		}
		if v.at.known() && (len(v.texts) == 0 || slices.Contains(v.texts, "")) {
			return errors.New("the value is empty")
		}
		return s.assign(c, v.texts, v.base)
	}()
	if err != nil {
		ps.add(v.at, s.name, err.Error(), s.form)
	}
}

// environment finds the settings in the environment. Other programs and the client have names there too (KEYHOLD_ADDR, and what
// an orchestrator makes of a service called keyhold), so a name that is no setting counts as a mistake only if it
// begins like a section or is nearly the name of a setting.
func environment(environ []string) ([]value, Problems) {
	byEnv := make(map[string]setting)
	var names, sections []string
	for _, s := range append(table(), sinkRows()...) {
		byEnv[s.env()] = s
		names = append(names, s.env())
		if section, _, ok := strings.Cut(s.name, "."); ok {
			sections = append(sections, envPrefix+strings.ToUpper(section)+"_")
		}
	}
	var given []value
	var ps Problems
	for _, pair := range slices.SortedFunc(slices.Values(environ), cmp.Compare[string]) {
		name, text, ok := strings.Cut(pair, "=")
		if !ok || !strings.HasPrefix(name, envPrefix) || slices.Contains(clientNames, name) || serviceLink(name) {
			continue
		}
		if s, ok := byEnv[name]; ok {
			texts := []string{text}
			if s.list {
				texts = strings.Split(text, ",")
				for i := range texts {
					texts[i] = strings.TrimSpace(texts[i])
				}
			}
			given = append(given, value{name: s.name, texts: texts, at: place{name: name}})
			continue
		}
		near := nearest(name, names)
		inSection := slices.ContainsFunc(sections, func(s string) bool { return strings.HasPrefix(name, s) })
		if !inSection && distance(name, near) > 2 {
			near = ""
		}
		if near != "" || inSection {
			ps.add(place{name: clip(name)}, "", "unknown setting", near)
		}
	}
	return given, ps
}

// clientNames are read by the command line and the client library.
var clientNames = []string{
	"KEYHOLD_ADDR", "KEYHOLD_TOKEN", "KEYHOLD_TOKEN_FILE", "KEYHOLD_CACERT", "KEYHOLD_NAMESPACE", "KEYHOLD_CLIENT_CERT", "KEYHOLD_CLIENT_KEY", "KEYHOLD_SOCKET",
}

// serviceLink tells whether an orchestrator made the name of a service's address
// (kubernetes.io, "Service environment variables": NAME_SERVICE_HOST, NAME_SERVICE_PORT, NAME_PORT, NAME_PORT_443_TCP …).
func serviceLink(name string) bool {
	return strings.HasSuffix(name, "_SERVICE_HOST") || strings.Contains(name, "_SERVICE_PORT") ||
		strings.HasSuffix(name, "_PORT") || strings.Contains(name, "_TCP") || strings.Contains(name, "_UDP")
}
