{{/* Names are fixed: the roles name the lease, and two operators for one namespace must collide rather than quarrel. */}}
{{- define "bkv.name" -}}bkv-operator{{- end -}}

{{- define "bkv.selector" -}}
app.kubernetes.io/name: {{ include "bkv.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "bkv.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "bkv.selector" . }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: bkv
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* Called with (dict "root" $ "what" "vault"). */}}
{{- define "bkv.image" -}}
{{- $image := .root.Values.image -}}
{{- $name := printf "%s/bkv-%s" $image.registry .what -}}
{{- with get $image.digests .what -}}
{{- printf "%s@%s" $name . -}}
{{- else -}}
{{- printf "%s:%s" $name ($image.tag | default $.root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* The namespaces that get a Role, as a JSON list. */}}
{{- define "bkv.namespaces" -}}
{{- .Values.namespaces | default (list .Release.Namespace) | sortAlpha | uniq | toJson -}}
{{- end -}}

{{/* What the restricted pod standard asks of a container, and a root that nothing is written to. */}}
{{- define "bkv.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "bkv.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}
