variable "name" {
  description = "What the names of everything begin with"
  type        = string
  default     = "live"
}

variable "image" {
  description = "Image of a mirror, or Debian's own for the cloud"
  type        = string
  default     = "debian-12-genericcloud-amd64"
}

variable "flavor" {
  description = "Size of a mirror; its network is what counts"
  type        = string
}

variable "network" {
  description = "Network whose machines the public reaches"
  type        = string
}

variable "master" {
  description = "Where the mirrors pull from"
  type        = string

  validation {
    condition     = startswith(var.master, "rtmp://")
    error_message = "The master is rtmp://HOST or rtmp://HOST:PORT."
  }
}

variable "secret_file" {
  description = "File with the secret that the master shares with its mirrors"
  type        = string
}

variable "repository" {
  description = "Address of the apt repository"
  type        = string
}

variable "repository_key" {
  description = "The repository's crtmpserver.gpg"
  type        = string
}

variable "minimum" {
  description = "Mirrors that are always there"
  type        = number
  default     = 2
}

variable "maximum" {
  description = "Mirrors at most: what the event may cost"
  type        = number
  default     = 20

  validation {
    condition     = var.maximum >= 1
    error_message = "There is at least one mirror."
  }
}
