package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/keyhold/keyhold/internal/kms"
)

// Vault is what the Vault dialect is told.
type Vault struct {
	Mounts []string // where transit is, without slashes around
	KV     []string // where secrets are, in the same form
}

const maxMounts = 64

// mounts makes a row for paths of mounts: of segments that keys' names may begin with, and none of them the server's own. Off can stand for none.
func mounts(name, value string, off bool, at func(*Config) *[]string, help string) setting {
	form := "a path, as in transit or team/transit; or a list of them"
	if off {
		form += "; or off"
	}
	return setting{name: name, value: value, form: form, help: help, list: true,
		assign: func(c *Config, vs []string, _ string) error {
			if off && len(vs) == 1 && vs[0] == Off {
				*at(c) = nil
				return nil
			}
			if len(vs) > maxMounts {
				return fmt.Errorf("%d mounts are more than %d", len(vs), maxMounts)
			}
			var all []string
			for _, v := range vs {
				v = strings.Trim(v, "/")
				first, _, _ := strings.Cut(v, "/")
				if kms.CheckName(v+"/k") != nil || strings.Contains(v, "//") || slices.Contains([]string{"sys", "auth", "alias"}, first) {
					return fmt.Errorf("%q is not the path of a mount: want letters, digits and . _ - /, and sys, auth and alias are taken", clip(v))
				}
				if other := inTheWay(v, all); other != "" {
					return fmt.Errorf("%q and %q are in each other's way", clip(other), clip(v))
				}
				all = append(all, v)
			}
			*at(c) = all
			return nil
		}}
}

// inTheWay finds a mount that a path leads into, or that leads into the path.
func inTheWay(v string, mounts []string) string {
	for _, other := range mounts {
		if other == v || strings.HasPrefix(other, v+"/") || strings.HasPrefix(v, other+"/") {
			return other
		}
	}
	return ""
}

// checkMounts: a path is of transit or of secrets. The usual place of secrets gives way to a mount of transit.
func (c *Config) checkMounts(from map[string]place, ps *Problems) {
	const name = "vault.kv_mounts"
	for i, v := range c.Vault.KV {
		other := inTheWay(v, c.Vault.Mounts)
		switch {
		case other == "":
		case !from[name].known():
			c.Vault.KV = slices.Delete(c.Vault.KV, i, i+1)
			return
		default:
			ps.add(from[name], name, fmt.Sprintf("%q and the mount %q of vault.mounts are in each other's way", clip(v), clip(other)), "paths of their own")
		}
	}
}
