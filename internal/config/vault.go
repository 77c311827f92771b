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
}

const maxMounts = 64

// mounts makes a row for paths of mounts: of segments that keys' names may begin with, and none of them the server's own.
func mounts(name, value string, at func(*Config) *[]string, help string) setting {
	return setting{name: name, value: value, form: "a path, as in transit or team/transit; or a list of them", help: help, list: true,
		assign: func(c *Config, vs []string, _ string) error {
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
				for _, other := range all {
					if other == v || strings.HasPrefix(other, v+"/") || strings.HasPrefix(v, other+"/") {
						return fmt.Errorf("%q and %q are in each other's way", clip(other), clip(v))
					}
				}
				all = append(all, v)
			}
			*at(c) = all
			return nil
		}}
}
