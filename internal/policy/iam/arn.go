package iam

import (
	"fmt"
	"strings"

	"github.com/keyhold/keyhold/internal/kms"
)

// RolePrefix begins the names of the principals that sessions of a role have.
const RolePrefix = "role/"

// who is a principal as documents name it.
type who struct {
	account bool   // the whole account
	name    string // of a principal of the namespace
}

// principal reads one entry of the AWS list of a Principal.
func principal(s, account string) (who, string) {
	if s == account {
		return who{account: true}, ""
	}
	parts := strings.SplitN(s, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[1] == "" || parts[3] != "" {
		if len(s) == 12 && strings.Trim(s, "0123456789") == "" {
			return who{}, fmt.Sprintf("account %s is not this namespace's, which is %s: no policy opens a namespace to another's principals", s, account)
		}
		return who{}, "want *, a 12-digit account, or the ARN of a user, a role or the account's root"
	}
	if strings.ContainsAny(s, "*?") {
		return who{}, `a principal has no wildcards; "*" alone is everybody, and the condition key aws:PrincipalArn takes patterns`
	}
	if parts[4] != account {
		return who{}, fmt.Sprintf("account %q is not this namespace's, which is %s: no policy opens a namespace to another's principals", parts[4], account)
	}
	kind, name, _ := strings.Cut(parts[5], "/")
	switch {
	case parts[2] == "iam" && parts[5] == "root":
		return who{account: true}, ""
	case parts[2] == "iam" && kind == "user" && name != "":
		return who{name: name}, ""
	case parts[2] == "iam" && kind == "role" && name != "":
		return who{name: RolePrefix + name}, ""
	case parts[2] == "sts" && kind == "assumed-role":
		return who{}, "a single session of a role cannot be told from its others: name the role"
	case parts[2] == "iam" && kind == "group":
		return who{}, "a group is not a principal: attach an identity policy to it"
	}
	return who{}, "want the ARN of a user (user/NAME), a role (role/NAME) or the account's root"
}

// PrincipalName reads the ARN of a principal that can call: a user or a role of the account.
func PrincipalName(arn, account string) (string, error) {
	w, wrong := principal(arn, account)
	if wrong == "" && w.account {
		wrong = "want a user or a role: the account as a whole does not call"
	}
	if wrong != "" {
		return "", kms.Errorf(kms.CodeBadRequest, "%q is not a principal: %s", clip(arn), wrong)
	}
	return w.name, nil
}

// PrincipalARN is the ARN of a principal by its name.
func PrincipalARN(name, account string) string {
	if !strings.HasPrefix(name, RolePrefix) {
		name = "user/" + name
	}
	return "arn:aws:iam::" + account + ":" + name
}

func clip(s string) string {
	if len(s) > 128 {
		return s[:128] + "…"
	}
	return s
}

// target is what a Resource entry names: keys of a region, by id or all of them.
type target struct {
	all     bool // whatever there is
	aliases bool // every alias
	region  pattern
	id      pattern // of the key; nil: any
}

// resource reads one entry of a Resource list.
func resource(s, account string) (t target, wrong string) {
	p := wild(s)
	if p.anything() {
		return target{all: true}, ""
	}
	parts, ok := p.split()
	if !ok {
		return t, `want "*" or the ARN of a key`
	}
	if !parts[0].matches("arn") || len(parts[1]) == 0 {
		return t, `want "*" or the ARN of a key`
	}
	if !parts[2].matches("kms") {
		return t, "" // of another service: it is nothing here
	}
	if !parts[4].matches(account) {
		return t, fmt.Sprintf("account %s is not this namespace's, which is %s", parts[4], account)
	}
	t.region = parts[3]
	switch last := parts[5]; {
	case last.anything():
		t.id, t.aliases = wild("*"), true
	case len(last.after("alias/")) > 0:
		for _, rest := range last.after("alias/") {
			t.aliases = t.aliases || rest.anything()
		}
		if !t.aliases {
			return t, "aliases are not resources of their own here: name keys, or alias/*, and use the condition key kms:ResourceAliases"
		}
	case len(last.after("key/")) > 0:
		rest := last.after("key/")
		t.id = rest[0]
	default:
		return t, "want the ARN of a key: arn:aws:kms:REGION:ACCOUNT:key/ID"
	}
	return t, ""
}

// keyID reads the id of a key as ARNs have it: a UUID, or mrk- and the same in 32 hexadecimal digits.
func keyID(s string) (kms.ID, bool) {
	if hex, ok := strings.CutPrefix(s, "mrk-"); ok && len(hex) == 32 {
		s = hex[:8] + "-" + hex[8:12] + "-" + hex[12:16] + "-" + hex[16:20] + "-" + hex[20:]
	}
	return kms.ParseID(s)
}
