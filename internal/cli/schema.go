package cli

import (
	"reflect"
	"strings"
	"time"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/audit/verify"
)

// form is the JSON of a command: one value, or a listing of that name.
type form struct {
	listing string
	item    reflect.Type
}

func one[T any](T) form                 { return form{item: reflect.TypeFor[T]()} }
func list[T any](name string, _ T) form { return form{name, reflect.TypeFor[T]()} }

// schemas are the JSON of every command that has one. Fields are only ever added.
func schemas() map[string]form {
	return map[string]form{
		"keyhold encrypt": one(client.EncryptOutput{}), "keyhold decrypt": one(client.DecryptOutput{}), "keyhold reencrypt": one(client.ReEncryptOutput{}),
		"keyhold datakey": one(client.GenerateDataKeyOutput{}), "keyhold sign": one(client.SignOutput{}), "keyhold verify": one(verified{}),
		"keyhold file encrypt": list("files", fileDone{}), "keyhold file decrypt": list("files", fileDone{}), "keyhold file info": list("files", fileHeader{}),
		"keyhold file rewrap": list("files", fileRewrapped{}), "keyhold file keygen": one(fileKeyPair{}),
		"keyhold datakey create": one(managedChange{}), "keyhold datakey show": one(client.ManagedDataKey{}), "keyhold datakey open": one(client.ManagedDataKey{}),
		"keyhold datakey list": list("data_keys", client.ManagedDataKey{}), "keyhold datakey revoke": one(managedChange{}),
		"keyhold campaign start": one(campaignChange{}), "keyhold campaign pause": one(campaignChange{}), "keyhold campaign resume": one(campaignChange{}),
		"keyhold campaign cancel": one(campaignChange{}), "keyhold campaign rate": one(campaignChange{}), "keyhold campaign show": one(client.Campaign{}),
		"keyhold campaign list": list("campaigns", client.Campaign{}),
		"keyhold rewrap":        one(rewrapReport{}),
		"keyhold migrate vault": one(migrated{}), "keyhold migrate openbao": one(migrated{}),
		"keyhold mac": one(client.GenerateMACOutput{}), "keyhold random": one(random{}),
		"keyhold derive": one(client.SharedSecret{}), "keyhold encapsulate": one(client.EncapsulateOutput{}), "keyhold decapsulate": one(client.SharedSecret{}),
		"keyhold wrap": one(client.WrapKeyOutput{}), "keyhold unwrap": one(client.UnwrapKeyOutput{}),
		"keyhold format encrypt": list("texts", client.FormatOutput{}), "keyhold format decrypt": list("texts", client.FormatOutput{}),
		"keyhold datakeypair": one(client.GenerateDataKeyPairOutput{}),
		"keyhold key create":  one(keyChange{}), "keyhold key list": list("keys", client.Key{}), "keyhold key show": one(client.Key{}),
		"keyhold key versions": list("versions", client.KeyVersion{}), "keyhold key update": one(keyChange{}), "keyhold key rotate": one(keyChange{}), "keyhold key rotation": one(keyChange{}),
		"keyhold key rotation-report": list("rotations", client.RotationStatus{}),
		"keyhold key enable":          one(keyChange{}), "keyhold key disable": one(keyChange{}), "keyhold key suspend": one(keyChange{}), "keyhold key resume": one(keyChange{}),
		"keyhold key activate": one(keyChange{}), "keyhold key suspend-version": one(keyChange{}), "keyhold key resume-version": one(keyChange{}),
		"keyhold key archive": one(keyChange{}), "keyhold key recall": one(keyChange{}), "keyhold key compromise": one(compromised{}),
		"keyhold key deactivate": one(keyChange{}), "keyhold key destroy": one(keyChange{}), "keyhold key cancel-destroy": one(keyChange{}),
		"keyhold key usage": one(client.Usage{}), "keyhold key assess": one(assessed{}), "keyhold key observe": one(client.Observation{}), "keyhold key retire": one(retired{}),
		"keyhold key public": one(client.PublicKey{}), "keyhold key algorithms": list("algorithms", algorithmInfo{}),
		"keyhold inventory": list("keys", client.InventoryKey{}), "keyhold inventory summary": one(client.InventorySummary{}),
		"keyhold audit list": list("records", client.AuditRecord{}), "keyhold audit prove": one(client.Proof{}), "keyhold audit checkpoint": one(client.Checkpoint{}), "keyhold audit consistency": one(client.Proof{}),
		"keyhold audit verify":   one(verify.Report{}),
		"keyhold key policy get": one(client.KeyPolicy{}), "keyhold key policy put": one(keyPolicyChange{}), "keyhold key policy delete": one(keyPolicyChange{}),
		"keyhold key grant create": one(grantChange{}), "keyhold key grant list": list("grants", client.Grant{}), "keyhold key grant revoke": one(grantChange{}),
		"keyhold key grant retire": one(grantChange{}),
		"keyhold policy put":       one(policyChange{}), "keyhold policy get": one(client.Policy{}), "keyhold policy list": list("policies", client.Policy{}),
		"keyhold policy delete": one(policyChange{}), "keyhold policy check": one(policyChecked{}), "keyhold policy can-i": one(client.Explanation{}), "keyhold policy explain": one(client.Explanation{}),
		"keyhold token create": one(newToken{}), "keyhold token list": list("tokens", client.Token{}), "keyhold token show": one(client.Token{}), "keyhold token revoke": one(tokenChange{}),
		"keyhold credential create": one(credentialChange{}), "keyhold credential list": list("credentials", client.Credential{}), "keyhold credential revoke": one(credentialChange{}),
		"keyhold credential access-key create": one(newAccessKey{}), "keyhold credential access-key list": list("access_keys", client.AccessKey{}),
		"keyhold credential access-key rotate": one(newAccessKey{}), "keyhold credential access-key revoke": one(accessKeyChange{}),
		"keyhold credential role put": one(roleChange{}), "keyhold credential role show": one(client.Role{}), "keyhold credential role list": list("roles", client.Role{}),
		"keyhold credential role delete": one(roleChange{}),
		"keyhold template put":           one(templateChange{}), "keyhold template show": one(client.Template{}), "keyhold template list": list("templates", client.Template{}),
		"keyhold template delete": one(templateChange{}), "keyhold template init": one(templatesMade{}),
		"keyhold namespace create": one(namespaceChange{}), "keyhold namespace list": list("namespaces", client.NamespaceInfo{}),
		"keyhold namespace show": one(client.NamespaceInfo{}), "keyhold namespace update": one(namespaceChange{}), "keyhold whoami": one(client.Identity{}),
		"keyhold approval list": list("approvals", client.Approval{}), "keyhold approval show": one(client.Approval{}),
		"keyhold approval approve": one(approvalChange{}), "keyhold approval refuse": one(approvalChange{}), "keyhold approval withdraw": one(approvalChange{}),
		"keyhold key import-token": one(client.ImportToken{}), "keyhold key import": one(client.ImportedKey{}), "keyhold key export": one(client.ExportedKey{}), "keyhold key expire": one(keyChange{}),
		"keyhold key receipt": one(client.Receipt{}), "keyhold namespace receipt": one(client.Receipt{}), "keyhold namespace destroy": one(namespaceDestruction{}),
		"keyhold namespace cancel-destroy": one(namespaceChange{}),
		"keyhold operator init":            one(initialised{}), "keyhold operator unseal": one(client.Status{}), "keyhold operator status": one(client.Status{}),
		"keyhold operator enroll": one(newToken{}), "keyhold operator mint": one(enrollmentInfo{}), "keyhold operator seal": one(client.Status{}),
		"keyhold operator rotate-root": one(client.Status{}), "keyhold operator roll-epoch": list("jobs", client.Job{}), "keyhold operator rebuild-usage": one(client.UsageRebuilt{}),
		"keyhold operator confirm-clock": one(client.ClockConfirmed{}),
		"keyhold store check":            one(client.StoreReport{}), "keyhold store export": one(exported{}), "keyhold jobs": list("jobs", client.Job{}),
		"keyhold doctor": one(diagnosis{}), "keyhold config check": one(configChecked{}), "keyhold version": one(versionInfo{}),
	}
}

// schema writes the form of a JSON value: a field with ? may be missing.
func schema(f form) string {
	var b strings.Builder
	if f.listing != "" {
		b.WriteString("{\n  " + f.listing + ": [")
		writeSchema(&b, f.item, "  ")
		b.WriteString("]\n  more: boolean\n}")
		return b.String()
	}
	writeSchema(&b, f.item, "")
	return b.String()
}

func writeSchema(b *strings.Builder, t reflect.Type, margin string) {
	switch {
	case t == reflect.TypeFor[time.Time]():
		b.WriteString("time")
	case t == reflect.TypeFor[[]byte]():
		b.WriteString("base64")
	case t.Kind() == reflect.Pointer:
		writeSchema(b, t.Elem(), margin)
	case t.Kind() == reflect.Slice:
		b.WriteByte('[')
		writeSchema(b, t.Elem(), margin)
		b.WriteByte(']')
	case t.Kind() == reflect.Map:
		b.WriteString("{string: ")
		writeSchema(b, t.Elem(), margin)
		b.WriteByte('}')
	case t.Kind() == reflect.Struct:
		b.WriteString("{\n")
		writeFields(b, t, margin+"  ")
		b.WriteString(margin + "}")
	case t.Kind() == reflect.String:
		b.WriteString("string")
	case t.Kind() == reflect.Bool:
		b.WriteString("boolean")
	default:
		b.WriteString("number")
	}
}

func writeFields(b *strings.Builder, t reflect.Type, margin string) {
	for i := range t.NumField() {
		f := t.Field(i)
		tag, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && tag == "":
			writeFields(b, f.Type, margin)
			continue
		case !f.IsExported() || tag == "-":
			continue
		}
		b.WriteString(margin + tag)
		if options != "" {
			b.WriteByte('?')
		}
		b.WriteString(": ")
		writeSchema(b, f.Type, margin)
		b.WriteByte('\n')
	}
}
